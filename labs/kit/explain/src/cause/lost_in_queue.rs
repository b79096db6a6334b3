//! A queue took the message, and lost it in silence: by a flag or an argument of its own, or by the
//! message's expiration.

use super::Case;
use crate::frames::{At, after, deed, direct_to, word};
use crate::topology::Fact;
use crate::{Finding, Topic};
use wiretap::Method;

const DROPPED: &str = "the broker drops an expired message in silence; the unit is milliseconds";

/// The finding for a message that its queue lost; of a named consumer, a queue that it uses.
pub(crate) fn lost_in_queue(case: &Case<'_, '_>) -> Option<Finding> {
    let used = |name: &&str| {
        let mut of = case
            .consumer
            .map(|service| case.topology.consumers_of(service));
        let uses = of
            .as_mut()
            .is_none_or(|all| all.any(|fact| fact.queue == *name));
        uses || direct_to(case.publish.frame).is_some()
    };
    let took = case.topology.took(case.publish).into_iter().filter(used);
    let known = took.filter_map(|name| {
        let mut lives = case.topology.queue(name);
        lives.find(|fact| fact.lived_at(case.publish.index))
    });
    known.into_iter().find_map(|queue| {
        let dropped = || expired(case, queue).or_else(|| overflowed(case, queue));
        let dead_letters = queue.text("x-dead-letter-exchange").is_some();
        let dropped = (!dead_letters).then(dropped).flatten();
        dropped
            .or_else(|| gone(case, queue))
            .or_else(|| purged(case, queue))
    })
}

/// By the message's `expiration`, or by the queue's `x-message-ttl`.
fn expired(case: &Case<'_, '_>, queue: &Fact<'_>) -> Option<Finding> {
    let now = case.entries.last().map_or(0.0, |entry| entry.t);
    let passed = |limit: &u64| now - case.publish.t > *limit as f64 / 1000.0;
    let own = case.publish.frame.message.as_ref()?.expiration.as_deref();
    if let Some(limit) = own.and_then(|text| text.parse().ok()).filter(passed) {
        let cause = format!("its expiration was {limit} (milliseconds), and it expired");
        return Some(case.finding(Topic::Publish, &cause, DROPPED));
    }
    let (limit, name) = (queue.number("x-message-ttl").filter(passed)?, queue.queue);
    let cause = format!("queue `{name}` has x-message-ttl {limit} (milliseconds), and it expired");
    Some(case.finding(Topic::Durability, &cause, DROPPED))
}

/// By the queue's `x-max-length`: later messages pushed it out.
fn overflowed(case: &Case<'_, '_>, queue: &Fact<'_>) -> Option<Finding> {
    let (limit, name) = (queue.number("x-max-length")?, queue.queue);
    let route = |at: &At<'_>| ["exchange", "routing_key"].map(|part| at.frame.args[part].clone());
    let beside = after(case.frames, case.publish.index)
        .iter()
        .filter(|at| at.frame.method == Method::BasicPublish && route(at) == route(&case.publish));
    let count = beside.count();
    let refuses = queue
        .text("x-overflow")
        .is_some_and(|how| how != "drop-head");
    if refuses || (count as u64) < limit {
        return None;
    }
    let cause = format!("queue `{name}` has x-max-length {limit}, and {count} followed it");
    let why = "a queue at its x-max-length drops its oldest messages in silence";
    Some(case.finding(Topic::Durability, &cause, why))
}

fn gone(case: &Case<'_, '_>, queue: &Fact<'_>) -> Option<Finding> {
    let end = queue.end.as_ref()?;
    let kept = queue.flag("durable") && !queue.flag("exclusive") && !queue.flag("auto_delete");
    let why = match kept {
        true => "the broker deletes a queue with the messages in it",
        false => {
            "the broker deletes a queue with the messages in it: a queue that must keep them is \
             durable, and neither exclusive nor auto-delete"
        }
    };
    Some(case.finding(Topic::Durability, &end.how, why))
}

fn purged(case: &Case<'_, '_>, queue: &Fact<'_>) -> Option<Finding> {
    let mut later = after(case.frames, case.publish.index).iter();
    let purge = later.find(|at| {
        at.frame.method == Method::QueuePurge && word(at.frame, "queue") == queue.queue
    })?;
    let why = "queue.purge deletes every message that waits in the queue";
    Some(case.finding(Topic::Durability, &deed(*purge), why))
}
