//! One message on its way to a queue, as chapter 02 did it.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

use crate::job::Job;

/// Sends `body` to `queue` as a persistent message with these further `properties`. The
/// broker has it only when what this returns was awaited as well; see [`accepted`].
pub async fn send(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = properties.with_delivery_mode(2); // persistent: written to disk
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    Ok(sent.await?)
}

/// Whether the broker's word means that a queue has the message: the only one in flight on
/// its channel. For several, see [`settle`].
pub fn accepted(word: Confirmation) -> Result<()> {
    match word {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => bail!("the message came back: no queue takes it"),
        other => bail!("the broker did not take the message: {other:?}"),
    }
}

/// Removes from `jobs` those that a queue has. `confirmations` are those of *all* messages that
/// were in flight on the channel, in the order of `jobs`.
///
/// The broker returns a message before it acks it, so by then each returned message is in one
/// of the confirmations; but not in its own: lapin puts it into the one that it resolves next.
/// So a job stays when its confirmation is no ack, or when a message with its id came back.
///
/// # Errors
/// When a job stays.
pub fn settle(jobs: &mut Vec<Job>, confirmations: &[Confirmation]) -> Result<()> {
    let returned: HashSet<&str> = confirmations.iter().filter_map(returned_id).collect();
    let (all, mut confirmations) = (jobs.len(), confirmations.iter());
    jobs.retain(|job| {
        let acked = confirmations.next().is_some_and(Confirmation::is_ack);
        !acked || returned.contains(job.id.as_str())
    });
    let left = jobs.len();
    ensure!(left == 0, "{left} of {all} job(s) returned or nacked");
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

    /// Settles jobs of these ids; gives the ids of those that stay.
    fn left(ids: &[&str], confirmations: &[Confirmation]) -> Vec<String> {
        let job = |id: &&str| Job {
            id: (*id).to_owned(),
            body: Vec::new(),
        };
        let mut jobs = ids.iter().map(job).collect();
        let outcome = settle(&mut jobs, confirmations);
        assert_eq!(outcome.is_ok(), jobs.is_empty());
        jobs.into_iter().map(|job| job.id).collect()
    }

    use Confirmation::{Ack, Nack};

    #[test]
    fn a_clean_window_leaves() {
        assert!(left(&["a", "b"], &[Ack(None), Ack(None)]).is_empty());
        assert!(left(&[], &[]).is_empty());
    }

    #[test]
    fn a_returned_job_stays_whichever_confirm_it_came_with() {
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
    fn a_nacked_job_stays_and_may_carry_anothers_return() {
        // basic.return c, basic.nack 2 multiple, basic.ack 3.
        let confirmations = [Nack(None), Nack(returned("c")), Ack(None)];
        assert_eq!(left(&["a", "b", "c"], &confirmations), ["a", "b", "c"]);
        let confirmations = [Ack(None), Nack(returned("a")), Ack(None)];
        assert_eq!(left(&["a", "b", "c"], &confirmations), ["a", "b"]);
    }

    #[test]
    fn a_job_without_a_confirmation_stays() {
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
