//! What its consumer did with a message.

use super::broker_loss::lost_with_broker;
use super::cause::{Case, aftermath, lost_in_queue};
use super::frames::{At, ended, holders, settlement, waits_behind};
use super::standstill::standstill;
use super::topology::Topology;
use super::{Finding, PREFETCH_FULL, Topic, short};
use wiretap::{Entry, Method};

const REQUEUED: &str =
    "the broker requeues what a lost connection left unacked: consume again to get it";

/// The finding for a message that a consumer got, but whose effect is missing.
pub(super) fn delivered(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: Option<At<'_>>,
    delivery: At<'_>,
) -> Finding {
    let id = short(delivery.frame.message_id().unwrap_or("?"));
    let to = format!("{} got {id} at {:.3} s", delivery.frame.service, delivery.t);
    if let Some(how) = no_ack(frames, delivery) {
        return Finding::new(
            Topic::NoAck,
            format!("{to} with no_ack ({how})"),
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
            left_unacked(entries, frames, publish, delivery, &to).unwrap_or_else(|| {
                let end = "its connection ended, and no consumer got the message again";
                Finding::new(
                    Topic::Consume,
                    format!("{to} and did not ack it; {end}"),
                    REQUEUED,
                )
            })
        }
        None => standstill(entries, frames, delivery, &to).unwrap_or_else(|| {
            Finding::new(
                Topic::Settle,
                format!("{to} and neither recorded nor acked it"),
                "an unacked message stays with its consumer as long as their connection lives",
            )
        }),
    }
}

/// How the message was asked for, if that was with `no_ack`.
fn no_ack(frames: &[At<'_>], delivery: At<'_>) -> Option<String> {
    let asked = match delivery.frame.method {
        Method::BasicGetOk => Method::BasicGet,
        _ => Method::BasicConsume,
    };
    let asks = frames
        .iter()
        .filter(|at| at.frame.method == asked && at.frame.service == delivery.frame.service);
    let (number, ask) = asks
        .enumerate()
        .filter(|(_, at)| at.index < delivery.index && at.frame.same_channel(delivery.frame))
        .last()?;
    let how = || format!("{asked} #{}", number + 1);
    ask.frame.flag("no_ack").then(how)
}

/// Why the broker, to which a lost connection gave the message back, did not deliver it again.
fn left_unacked(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: Option<At<'_>>,
    delivery: At<'_>,
    to: &str,
) -> Option<Finding> {
    let topology = &Topology::new(entries, frames);
    let service = &*delivery.frame.service;
    if let Some(publish) = publish {
        if let Some(lost) = lost_with_broker(entries, frames, publish) {
            return Some(lost);
        }
        if let Some(holders) = holders(entries, frames, publish, None) {
            let end = format!("{to} and left it unacked; {}", waits_behind(&holders));
            return Some(Finding::new(Topic::Settle, end, PREFETCH_FULL));
        }
        let consumer = Some(service);
        let lost = lost_in_queue(&Case {
            entries,
            frames,
            topology,
            publish,
            consumer,
        });
        if let Some(lost) = lost {
            return Some(lost);
        }
    }
    let own = topology.consumers_of(service);
    let end = own.map(|consumer| consumer.end.as_ref()).next_back()??;
    let then = aftermath(entries, service, end);
    let again = "no consumer got the message again";
    let observed = format!("{to} and did not ack it; {}, {then}, and {again}", end.how);
    Some(Finding::new(Topic::Consume, observed, REQUEUED))
}
