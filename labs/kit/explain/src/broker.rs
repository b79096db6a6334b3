//! What a broker forgets when it dies.

use super::frames::{At, direct_to, sent};
use super::{Finding, Topic};
use wiretap::{CheckEvent, Entry, Event, Method};

/// What a broker that died after the publish has forgotten, because it was not told to keep it.
pub(super) fn fleeting(entries: &[Entry], frames: &[At<'_>], publish: At<'_>) -> Option<Finding> {
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
            "the broker keeps transient messages in memory only",
        ));
    }
    // Which queues a named exchange put it into, the wire does not say.
    let queue = direct_to(publish.frame)?;
    let fleeting = frames.iter().any(|at| {
        at.frame.method == Method::QueueDeclare
            && at.frame.args["queue"].as_str() == Some(queue)
            && !at.frame.flag("durable")
            && !at.frame.flag("passive")
    });
    fleeting.then(|| {
        Finding::new(
            Topic::Durability,
            format!("{sent} to a queue that is not durable, then the broker died"),
            "a queue that is not durable goes with the broker, and its messages with it",
        )
    })
}
