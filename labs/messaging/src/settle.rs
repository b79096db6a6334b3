//! A window of mandatory messages that were in flight together: which of them a queue has.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use lapin::Confirmation;

/// Removes from `window` the messages that a queue has. `id` gives a message's `message_id`;
/// `confirmations` are those of *all* messages that were in flight on the channel, in the order
/// of `window`.
///
/// The broker returns a message before it acks it, so each returned message is in one of the
/// confirmations; but not in its own: lapin puts it into the one that it resolves next. So a
/// message stays when its confirmation is not an ack, or when its id was returned.
///
/// # Errors
/// When a message stays.
pub fn settle<M>(
    window: &mut Vec<M>,
    id: impl Fn(&M) -> &str,
    confirmations: &[Confirmation],
) -> Result<()> {
    let returned: HashSet<&str> = confirmations.iter().filter_map(returned_id).collect();
    let (all, mut confirmations) = (window.len(), confirmations.iter());
    window.retain(|message| {
        let acked = confirmations.next().is_some_and(Confirmation::is_ack);
        !acked || returned.contains(id(message))
    });
    let left = window.len();
    ensure!(left == 0, "{left} of {all} message(s) returned or nacked");
    Ok(())
}

/// The id of the returned message in this confirmation, whichever message was confirmed.
fn returned_id(confirmation: &Confirmation) -> Option<&str> {
    let (Confirmation::Ack(message) | Confirmation::Nack(message)) = confirmation else {
        return None;
    };
    let id = message.as_ref()?.properties.message_id().as_ref();
    id.map(|id| id.as_str())
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::message::{BasicReturnMessage, Delivery};

    use super::*;

    use Confirmation::{Ack, Nack};

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

    /// Settles messages of these ids; gives those that stay.
    fn left<'a>(ids: &[&'a str], confirmations: &[Confirmation]) -> Vec<&'a str> {
        let mut window = ids.to_vec();
        let outcome = settle(&mut window, |id| id, confirmations);
        assert_eq!(outcome.is_ok(), window.is_empty());
        window
    }

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
    fn a_nacked_message_stays_and_may_carry_the_return_of_another() {
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
