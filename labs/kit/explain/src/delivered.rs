//! What its consumer did with a message.

use super::broker::fleeting;
use super::frames::{At, ended, holders, settlement};
use super::{FULL_HANDS, Finding, Topic, short};
use wiretap::{Entry, Method};

/// The end of a message that was handed over, and is not where it should be.
pub(super) fn delivered(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: Option<At<'_>>,
    delivery: At<'_>,
) -> Finding {
    let id = short(delivery.frame.message_id().unwrap_or("?"));
    let to = format!("{} got {id} at {:.3} s", delivery.frame.service, delivery.t);
    let consumes = frames.iter().filter(|at| {
        at.frame.method == Method::BasicConsume && at.frame.service == delivery.frame.service
    });
    let consumed = consumes
        .clone()
        .enumerate()
        .filter(|(_, at)| at.index < delivery.index && at.frame.same_channel(delivery.frame))
        .last();
    if let Some((number, consume)) = consumed
        && consume.frame.flag("no_ack")
    {
        return Finding::new(
            Topic::NoAck,
            format!("{to} with no_ack (basic.consume #{})", number + 1),
            "with no_ack the broker forgets a message as it hands it over",
        );
    }
    let settled = settlement(frames, delivery);
    match settled.map(|at| (at, at.frame.method)) {
        Some((at, Method::BasicAck)) => Finding::new(
            Topic::Settle,
            format!(
                "{to} and acked it at {:.3} s (basic.ack), yet it is not there",
                at.t
            ),
            "an ack tells the broker to forget: it must come after the work is done",
        ),
        Some((at, method)) if !at.frame.flag("requeue") => Finding::new(
            Topic::Settle,
            format!("{to} and threw it away ({method}, requeue false)"),
            "a good message that is rejected without requeue is gone",
        ),
        Some((_, method)) => Finding::new(
            Topic::Settle,
            format!("{to} and gave it back ({method}, requeue true)"),
            "a message that is always given back is never done",
        ),
        None if ended(&entries[delivery.index..], delivery.frame) => {
            let fleeting = publish.and_then(|publish| fleeting(entries, frames, publish));
            let waits = || {
                let holders = holders(entries, frames, publish?, None)?;
                let end = format!("{to} and left it; it waits, unacked meanwhile: {holders}");
                Some(Finding::new(Topic::Settle, end, FULL_HANDS))
            };
            fleeting.or_else(waits).unwrap_or_else(|| {
                let end = "did not settle it, and its connection ended; nobody got it again";
                Finding::new(
                    Topic::Consume,
                    format!("{to}, {end}"),
                    "what is not settled goes back to its queue: who still lives has to consume again",
                )
            })
        }
        None => Finding::new(
            Topic::Settle,
            format!("{to} and neither recorded nor settled it"),
            "an unsettled message stays with its consumer for as long as that is connected",
        ),
    }
}
