//! No queue of the consumer took the message: the queue was not bound, was bound too late or with
//! another key, or did not exist.

use super::{Case, direct_to};
use crate::frames::word;
use crate::topology::Fact;
use crate::{Finding, Topic};
use wiretap::Method;

const TOO_LATE: &str = "a queue gets only what is published after it is bound: if a consumer may \
                        come later, the producer must declare and bind its queue";
const NOT_BOUND: &str =
    "a queue gets only what its bindings match, and only what is published after they exist";

pub(super) fn unrouted(case: &Case<'_, '_>) -> Option<Finding> {
    let direct = direct_to(case.publish.frame);
    if let Some(name) = direct.filter(|name| case.topology.queue(name).next().is_none()) {
        // The wire alone does not show that a queue is missing: an administrator may have made it.
        let cause = default_exchange(case, name)?;
        return Some(case.finding(Topic::Publish, &cause, NOT_BOUND));
    }
    let (mut cause, late) = why_unrouted(case)?;
    let took = case.topology.took(case.publish);
    if !took.is_empty() {
        cause += &format!("; only `{}` got it", took.join("`, `"));
    }
    if case.queue_taken_away() && !case.publish.frame.flag("mandatory") {
        let why =
            "without mandatory the broker confirms a message that no queue takes, and drops it";
        return Some(case.finding(Topic::Publish, &cause, why));
    }
    let why = if late { TOO_LATE } else { NOT_BOUND };
    Some(case.finding(Topic::Routing, &cause, why))
}

/// Why no queue of the consumer took the message, and whether its queue or binding came too late.
/// `None` when one did, or the journal does not tell.
pub(super) fn why_unrouted(case: &Case<'_, '_>) -> Option<(String, bool)> {
    let took = case.topology.took(case.publish);
    if let Some(name) = direct_to(case.publish.frame) {
        if case.topology.queue(name).next().is_none() {
            let missing = || format!("no service declared queue `{name}` (no queue.declare)");
            return Some((default_exchange(case, name).unwrap_or_else(missing), false));
        }
        return took.is_empty().then(|| absent(case, name))?;
    }
    let exchange = word(case.publish.frame, "exchange");
    let queues = queues(case);
    let mut bindings = case.topology.all(Method::QueueBind);
    let unused = || case.topology.kind(exchange).is_some() || case.by_services();
    if queues.is_empty() && !bindings.any(|fact| fact.exchange() == exchange) && unused() {
        let text = format!("no service bound a queue to exchange `{exchange}` (no queue.bind)");
        return Some((text, false));
    }
    if queues.iter().any(|name| took.contains(name)) {
        return None;
    }
    let name = queues.last()?;
    absent(case, name).or_else(|| Some(unbound(case, exchange, name)))
}

/// The publisher names the default exchange, and another exchange as if it were a queue.
fn default_exchange(case: &Case<'_, '_>, name: &str) -> Option<String> {
    case.topology.kind(name)?;
    Some(format!(
        "the publish names no exchange, so it went to the default exchange, which looks for a \
         queue `{name}`; `{name}` is an exchange"
    ))
}

impl Case<'_, '_> {
    /// Whether services declare what they use; an administrator may have done it for them.
    fn by_services(&self) -> bool {
        self.topology.all(Method::QueueDeclare).next().is_some()
    }
}

/// The queues in which the consumers should have found the message: those that they consume from
/// or have declared, as far as a service declared them; the last tells most.
fn queues<'a>(case: &Case<'a, '_>) -> Vec<&'a str> {
    let names = case.consumers();
    let own = |fact: &&Fact<'_>| names.is_empty() || names.contains(&fact.service());
    let all = |method| case.topology.all(method).filter(own).map(|fact| fact.queue);
    let queues = all(Method::QueueDeclare).chain(all(Method::BasicConsume));
    queues
        .filter(|name| case.topology.queue(name).next().is_some())
        .collect()
}

/// Why this queue did not exist when the message was published; `None` when it did.
fn absent(case: &Case<'_, '_>, name: &str) -> Option<(String, bool)> {
    let index = case.publish.index;
    let lives = || case.topology.queue(name);
    if lives().any(|fact| fact.lived_at(index)) {
        return None;
    }
    let gone = lives().rev().find_map(|fact| fact.ended_before(index));
    let later = lives().find(|fact| fact.from.index > index);
    let when = |fact: &Fact<'_>| format!("at {:.3} s, {}", fact.from.t, fact.by(case.consumer));
    match (gone, later.map(when)) {
        (Some(gone), None) => Some((gone.how.clone(), false)),
        (Some(gone), Some(when)) => {
            Some((format!("{}; it was declared again {when}", gone.how), false))
        }
        (None, when) => Some((format!("queue `{name}` was declared only {}", when?), true)),
    }
}

/// Why this queue, which existed, was not bound for the message.
fn unbound(case: &Case<'_, '_>, exchange: &str, name: &str) -> (String, bool) {
    let (index, frame) = (case.publish.index, case.publish.frame);
    let all = || {
        let bindings = case.topology.all(Method::QueueBind);
        bindings.filter(|fact| fact.queue == name)
    };
    let routes = |fact: &&Fact<'_>| case.topology.routes(fact, frame);
    let ended = all()
        .filter(routes)
        .rev()
        .find_map(|fact| fact.ended_before(index));
    let mut later = all().filter(routes).filter(|fact| fact.from.index > index);
    let when = later
        .next()
        .map(|fact| format!("only at {:.3} s, {}", fact.from.t, fact.by(case.consumer)));
    let text = match (ended, when) {
        (Some(ended), None) => ended.how.clone(),
        (Some(ended), Some(when)) => format!("{}; `{name}` was bound again {when}", ended.how),
        (None, Some(when)) => {
            return (
                format!("queue `{name}` was bound to exchange `{exchange}` {when}"),
                true,
            );
        }
        (None, None) => {
            let living = all().filter(|fact| fact.lived_at(index));
            let to = |fact: &&Fact<'_>| fact.exchange() == exchange;
            let keys: Vec<_> = living.filter(to).map(|fact| fact.key()).collect();
            match (keys.is_empty(), all().next()) {
                (true, None) => {
                    format!(
                        "no service bound queue `{name}` to exchange `{exchange}` (no queue.bind)"
                    )
                }
                (true, Some(other)) => format!(
                    "no service bound queue `{name}` to exchange `{exchange}`; it is bound to `{}` \
                     (queue.bind)",
                    other.exchange()
                ),
                (false, _) => other_keys(case, exchange, name, &keys),
            }
        }
    };
    (text, false)
}

fn other_keys(case: &Case<'_, '_>, exchange: &str, name: &str, keys: &[&str]) -> String {
    let kind = case.topology.kind(exchange).unwrap_or_default();
    let wildcard = keys.iter().any(|key| key.contains(['*', '#']));
    let plain = match kind == "direct" && wildcard {
        true => ", where `*` and `#` have no meaning",
        false => "",
    };
    let keys = keys.join("`, `");
    format!("queue `{name}` is bound with `{keys}` only (queue.bind), to a {kind} exchange{plain}")
}
