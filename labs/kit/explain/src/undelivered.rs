//! What kept a message from its consumer.

use super::broker_loss::lost_with_broker;
use super::frames::{At, confirm_number, direct_to, holders, sent, waits_behind};
use super::{Finding, PREFETCH_FULL, Topic};
use wiretap::{Entry, Method, Side};

/// The finding for a message that was published, but not delivered to any consumer.
pub(super) fn undelivered(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: At<'_>,
    consumer: Option<&str>,
) -> Finding {
    let sent = sent(&publish);
    let id = publish.frame.message_id();
    let named = direct_to(publish.frame).is_none();
    let later = || frames.iter().filter(|at| at.index > publish.index);
    if later().any(|at| at.frame.method == Method::BasicReturn && at.frame.message_id() == id) {
        let why = if named {
            "an exchange stores nothing: a message that no queue is bound for is lost"
        } else {
            "the default exchange routes by queue name: without that queue the message is lost"
        };
        let observed = format!("{sent} and returned as unroutable (basic.return)");
        return Finding::new(Topic::Routing, observed, why);
    }
    if let Some(finding) = lost_with_broker(entries, frames, publish) {
        return finding;
    }
    let Some(number) = confirm_number(frames, publish) else {
        return Finding::new(
            Topic::Confirm,
            format!("{sent} without confirm mode (no confirm.select)"),
            "without a confirm the service cannot know whether the broker has the message",
        );
    };
    let confirmed = later().any(|at| {
        at.frame.from == Side::Server
            && at.frame.method == Method::BasicAck
            && at.frame.same_channel(publish.frame)
            && at.frame.covers(number)
    });
    if !confirmed {
        return Finding::new(
            Topic::Publish,
            format!("{sent} and the broker never confirmed it (no basic.ack)"),
            "the broker is responsible for a message only after it has confirmed it",
        );
    }
    if let Some(holders) = holders(entries, frames, publish, consumer) {
        let observed = format!("{sent} and confirmed; {}", waits_behind(&holders));
        return Finding::new(Topic::Settle, observed, PREFETCH_FULL);
    }
    if named {
        let end = match consumer {
            Some(name) => format!("{name} never got it"),
            None => "no consumer got it".to_owned(),
        };
        return Finding::new(
            Topic::Routing,
            format!("{sent} and confirmed; {end}"),
            "a queue gets only what its bindings match, and only what is published after they exist",
        );
    }
    Finding::new(
        Topic::Consume,
        format!("{sent} and confirmed; no consumer got it from the queue"),
        "a consumer whose channel has closed gets no messages until it consumes again",
    )
}
