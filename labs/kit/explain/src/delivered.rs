//! What its consumer did with a message.

use super::broker_loss::lost_with_broker;
use super::frames::{At, ended, holders, settlement, waits_behind};
use super::{Finding, PREFETCH_FULL, Topic, short};
use wiretap::{Entry, Method};

/// The finding for a message that a consumer got, but whose effect is missing.
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
            "with no_ack the broker forgets a message once it is delivered",
        );
    }
    let settled = settlement(frames, delivery);
    match settled.map(|at| (at, at.frame.method)) {
        Some((at, Method::BasicAck)) => Finding::new(
            Topic::Settle,
            format!(
                "{to} and acked it at {:.3} s (basic.ack), yet its effect is missing",
                at.t
            ),
            "an ack tells the broker to forget the message: ack only when the work is done",
        ),
        Some((at, method)) if !at.frame.flag("requeue") => Finding::new(
            Topic::Settle,
            format!("{to} and discarded it ({method}, requeue false)"),
            "the broker does not redeliver a message that is rejected without requeue",
        ),
        Some((_, method)) => Finding::new(
            Topic::Settle,
            format!("{to} and requeued it ({method}, requeue true)"),
            "a message that its consumer always requeues is never done",
        ),
        None if ended(&entries[delivery.index..], delivery.frame) => {
            let lost = publish.and_then(|publish| lost_with_broker(entries, frames, publish));
            let waits = || {
                let holders = holders(entries, frames, publish?, None)?;
                let end = format!("{to} and left it unacked; {}", waits_behind(&holders));
                Some(Finding::new(Topic::Settle, end, PREFETCH_FULL))
            };
            lost.or_else(waits).unwrap_or_else(|| {
                let end = "its connection ended, and no consumer got the message again";
                Finding::new(
                    Topic::Consume,
                    format!("{to} and did not ack it; {end}"),
                    "the broker requeues what a lost connection left unacked: consume again to get it",
                )
            })
        }
        None => Finding::new(
            Topic::Settle,
            format!("{to} and neither recorded nor acked it"),
            "an unacked message stays with its consumer as long as their connection lives",
        ),
    }
}
