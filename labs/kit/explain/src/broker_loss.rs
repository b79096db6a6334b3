//! What a broker loses when it dies.

use super::frames::{At, direct_to, sent};
use super::{Finding, Topic};
use wiretap::{CheckEvent, Entry, Event, Method};

/// Why a broker that died after the publish lost the message: the message was transient, or its
/// queue was not durable. `None` when the broker did not die, or neither holds.
pub(super) fn lost_with_broker(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: At<'_>,
) -> Option<Finding> {
    let killed = Event::Check {
        what: CheckEvent::BrokerKilled,
    };
    let mut later = entries[publish.index..].iter();
    later.find(|entry| entry.event == killed)?;
    let sent = sent(&publish);
    let message = publish.frame.message.as_ref();
    if message.is_some_and(|message| !message.persistent) {
        return Some(Finding::new(
            Topic::Publish,
            format!("{sent} as transient (delivery_mode 1), then the broker died"),
            "a broker that dies loses its transient messages",
        ));
    }
    // The wire does not show which queues a named exchange routed the message to.
    let queue = direct_to(publish.frame)?;
    let not_durable = frames.iter().any(|at| {
        at.frame.method == Method::QueueDeclare
            && at.frame.args["queue"].as_str() == Some(queue)
            && !at.frame.flag("durable")
            && !at.frame.flag("passive")
    });
    not_durable.then(|| {
        Finding::new(
            Topic::Durability,
            format!("{sent}; the queue was not durable, and the broker died"),
            "a broker that dies loses every queue that is not durable, with its messages",
        )
    })
}
