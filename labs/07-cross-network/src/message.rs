//! One message on its way to the queue.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use uuid::Uuid;

/// The exchange, and the key under which its queue is bound. An administrator has made both.
const MESSAGES: &str = "messages";

pub struct Message {
    /// The same however often it is sent: by it the consumer knows a double.
    id: String,
    text: String,
}

impl Message {
    /// A new one, with an id of its own.
    pub fn new(number: u64) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            text: format!("message {number}"),
        }
    }

    /// Sends it. The broker has it only when what this returns was awaited as well; see
    /// [`settle`].
    pub async fn publish(&self, channel: &Channel) -> Result<PublisherConfirm> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_message_id(self.id.as_str().into())
            .with_content_type("text/plain".into())
            .with_delivery_mode(2); // persistent: written to disk
        let (exchange, key) = (MESSAGES.into(), MESSAGES.into());
        let sent = channel.basic_publish(exchange, key, options, self.text.as_bytes(), properties);
        Ok(sent.await?)
    }
}

/// Removes from `window` the messages that a queue has. `confirmations` are those of the whole
/// window, in its order. As in chapter 03, what names a returned message is its id, and not
/// the confirmation that lapin puts it into.
///
/// # Errors
/// When a message stays: returned or nacked.
pub fn settle(window: &mut Vec<Message>, confirmations: &[Confirmation]) -> Result<()> {
    let returned: HashSet<&str> = confirmations.iter().filter_map(returned_id).collect();
    let (all, mut confirmations) = (window.len(), confirmations.iter());
    window.retain(|message| {
        let acked = confirmations.next().is_some_and(Confirmation::is_ack);
        !acked || returned.contains(message.id.as_str())
    });
    let left = window.len();
    ensure!(left == 0, "{left} of {all} message(s) returned or nacked");
    Ok(())
}

/// The id of the returned message in this confirmation, whosever confirmation it is.
fn returned_id(confirmation: &Confirmation) -> Option<&str> {
    let (Confirmation::Ack(message) | Confirmation::Nack(message)) = confirmation else {
        return None;
    };
    let id = message.as_ref()?.properties.message_id().as_ref();
    id.map(|id| id.as_str())
}

#[cfg(test)]
mod tests {
    use lapin::message::{BasicReturnMessage, Delivery};

    use super::*;

    /// A returned message as lapin hands it over.
    fn returned(id: &str) -> Option<BasicReturnMessage> {
        let mut delivery = Delivery::mock(0, "".into(), "messages".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        Some(BasicReturnMessage {
            delivery,
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
        })
    }

    /// Settles messages of these ids; gives the ids of those that stay.
    fn left(ids: &[&str], confirmations: &[Confirmation]) -> Vec<String> {
        let message = |id: &&str| Message {
            id: (*id).to_owned(),
            text: String::new(),
        };
        let mut window = ids.iter().map(message).collect();
        let outcome = settle(&mut window, confirmations);
        assert_eq!(outcome.is_ok(), window.is_empty());
        window.into_iter().map(|message| message.id).collect()
    }

    use Confirmation::{Ack, Nack};

    #[test]
    fn a_clean_window_leaves() {
        assert!(left(&["a", "b"], &[Ack(None), Ack(None)]).is_empty());
        assert!(left(&[], &[]).is_empty());
    }

    #[test]
    fn a_returned_message_stays_whichever_confirm_it_came_with() {
        // basic.return a, basic.ack 3 multiple: lapin resolved b's confirm first.
        let confirmations = [Ack(None), Ack(returned("a")), Ack(None)];
        assert_eq!(left(&["a", "b", "c"], &confirmations), ["a"]);
        // basic.return c, basic.ack 1, basic.ack 3 multiple: the first ack took it.
        let confirmations = [Ack(returned("c")), Ack(None), Ack(None)];
        assert_eq!(left(&["a", "b", "c"], &confirmations), ["c"]);
        // basic.return a and b, basic.ack 2, basic.ack 1: each has the other's.
        let confirmations = [Ack(returned("b")), Ack(returned("a"))];
        assert_eq!(left(&["a", "b"], &confirmations), ["a", "b"]);
    }

    #[test]
    fn a_nacked_message_stays_and_may_carry_anothers_return() {
        // basic.return c, basic.nack 2 multiple, basic.ack 3.
        let confirmations = [Nack(None), Nack(returned("c")), Ack(None)];
        assert_eq!(left(&["a", "b", "c"], &confirmations), ["a", "b", "c"]);
        let confirmations = [Ack(None), Nack(returned("a")), Ack(None)];
        assert_eq!(left(&["a", "b", "c"], &confirmations), ["a", "b"]);
    }

    #[test]
    fn a_message_without_a_confirmation_stays() {
        assert_eq!(left(&["a", "b"], &[Ack(None)]), ["b"]);
        let unasked = [Confirmation::NotRequested, Ack(None)];
        assert_eq!(left(&["a", "b"], &unasked), ["a"]);
    }

    #[test]
    fn what_was_returned_before_counts_no_more_once_it_is_sent_again() {
        assert_eq!(left(&["a", "b"], &[Ack(None), Ack(returned("a"))]), ["a"]);
        assert!(left(&["a"], &[Ack(None)]).is_empty());
        // Returned twice under one id: sent twice, as after an error.
        let confirmations = [Ack(returned("a")), Ack(None), Ack(returned("a"))];
        assert_eq!(left(&["a", "b", "a"], &confirmations), ["a", "a"]);
    }
}
