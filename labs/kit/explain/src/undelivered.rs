//! What kept a message from its consumer.

use super::broker::fleeting;
use super::frames::{At, confirm_number, direct_to, holders, sent};
use super::{FULL_HANDS, Finding, Topic};
use wiretap::{Entry, Method, Side};

/// The end of a message that was sent, and handed to nobody.
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
            "an exchange remembers nothing: what no queue wants at that moment is gone"
        } else {
            "the default exchange routes by queue name: without the queue the message is lost"
        };
        let told = format!("{sent} and came back (basic.return): no queue takes it");
        return Finding::new(Topic::Routing, told, why);
    }
    if let Some(finding) = fleeting(entries, frames, publish) {
        return finding;
    }
    let Some(number) = confirm_number(frames, publish) else {
        return Finding::new(
            Topic::Confirm,
            format!("{sent} without confirm mode (no confirm.select)"),
            "without a confirm nobody knows whether the broker got it",
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
            format!("{sent} and the broker never confirmed it (no basic.ack came back)"),
            "only a confirmed message is the broker's to keep",
        );
    }
    if let Some(holders) = holders(entries, frames, publish, consumer) {
        let told = format!("{sent} and confirmed, and waits; unacked meanwhile: {holders}");
        return Finding::new(Topic::Settle, told, FULL_HANDS);
    }
    if named {
        let who = consumer.unwrap_or("nobody");
        let got = if consumer.is_some() {
            "never got it"
        } else {
            "got it"
        };
        return Finding::new(
            Topic::Routing,
            format!("{sent} and confirmed; {who} {got}"),
            "a queue gets what its bindings match when it is sent: no more, and nothing later",
        );
    }
    Finding::new(
        Topic::Consume,
        format!("{sent} and confirmed; nobody took it from the queue"),
        "a consumer whose channel is gone gets nothing more until it consumes again",
    )
}
