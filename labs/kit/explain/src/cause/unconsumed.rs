//! A queue has the message, and its consumer does not consume from that queue: it never did, no
//! longer does, or consumes from another one.

use super::{Case, direct_to};
use crate::frames::{At, deed, refuses, word};
use crate::topology::{End, Fact};
use crate::{Finding, Topic};
use process::Change;
use wiretap::{Entry, Event, Method};

pub(super) fn unconsumed(case: &Case<'_, '_>) -> Option<Finding> {
    let consumes = || case.topology.all(Method::BasicConsume);
    if case.consumer.is_none()
        && let Some(queue) = direct_to(case.publish.frame)
        && !consumes().any(|fact| fact.queue == queue)
    {
        return nowhere(case, queue);
    }
    let mut names = case.consumers().into_iter();
    names.find_map(|name| of_service(case, name))
}

/// No service has ever consumed from this queue.
fn nowhere(case: &Case<'_, '_>, queue: &str) -> Option<Finding> {
    let mut consumes = case.topology.all(Method::BasicConsume);
    let idle = |name: &str| {
        let mut own = case.frames.iter().filter(|at| at.frame.service == name);
        !own.any(|at| {
            matches!(
                at.frame.method,
                Method::BasicPublish | Method::BasicConsumeOk
            )
        })
    };
    let closed = |at: &&At<'_>| refuses(at, &at.frame.service) && idle(&at.frame.service);
    if let Some(close) = case.frames.iter().rfind(closed) {
        return Some(never(case, &close.frame.service));
    }
    consumes
        .rfind(|fact| fact.lives())
        .map(|other| elsewhere(case, other, queue, None))
}

fn of_service(case: &Case<'_, '_>, name: &str) -> Option<Finding> {
    let own = || case.topology.consumers_of(name);
    let Some(last) = own().next_back() else {
        return Some(never(case, name));
    };
    if let Some(shared) = shared(case, name) {
        return Some(shared);
    }
    let took = case.topology.took(case.publish);
    let took_and_used = || own().filter(|fact| took.contains(&fact.queue));
    // Another instance may consume from the same queue.
    if took_and_used().any(|fact| case.topology.consumed(fact.queue)) {
        return None;
    }
    if let Some(now) = own().rfind(|fact| fact.lives()) {
        let before = took_and_used().next_back()?;
        return Some(elsewhere(case, now, before.queue, before.end.as_ref()));
    }
    let end = last
        .end
        .as_ref()
        .filter(|_| !case.topology.consumed(last.queue))?;
    let cause = format!("{}, and {}", end.how, aftermath(case.entries, name, end));
    let why = "a consumer whose channel has closed gets no messages until it consumes again";
    Some(case.finding(Topic::Consume, &cause, why))
}

/// Another service got the message from a queue that both consume from.
fn shared(case: &Case<'_, '_>, name: &str) -> Option<Finding> {
    let id = case.publish.frame.message_id();
    let deliveries = case
        .frames
        .iter()
        .filter(|at| at.delivers() && at.frame.message_id() == id);
    let mut queues = deliveries.filter_map(|at| {
        let consumers = case.topology.consumers_of(&at.frame.service);
        let tagged = |fact: &&Fact<'_>| fact.has_tag(word(at.frame, "consumer_tag"));
        let queue = consumers
            .filter(tagged)
            .find(|fact| fact.request.frame.same_channel(at.frame));
        Some((at, queue?.queue))
    });
    let both = |queue: &str| {
        case.topology
            .consumers_of(name)
            .any(|fact| fact.queue == queue)
    };
    let (at, queue) = queues.find(|(_, queue)| both(queue))?;
    let (other, t, method) = (&at.frame.service, at.t, at.frame.method);
    let cause = format!("{other} got it from the same queue `{queue}` at {t:.3} s ({method})");
    let why = "services that share a queue share its messages: each needs a queue of its own";
    Some(case.finding(Topic::Consume, &cause, why))
}

/// The service consumes from another queue than this one, which took the message.
fn elsewhere(case: &Case<'_, '_>, now: &Fact<'_>, queue: &str, end: Option<&End>) -> Finding {
    let left = match end {
        Some(end) => format!(
            "it waits in `{queue}`, without a consumer since {}",
            end.how
        ),
        None => format!("no service consumes from `{queue}`"),
    };
    let (service, other, t) = (now.service(), now.queue, now.from.t);
    let cause = format!("{left}; {service} consumes from `{other}` since {t:.3} s (basic.consume)");
    let why = match end {
        Some(_) => {
            "a message waits in the queue that took it: after a restart, too, the service must \
             consume from that queue"
        }
        None => {
            "a message waits in the queue that took it: publisher and consumer must agree on it"
        }
    };
    case.finding(Topic::Consume, &cause, why)
}

fn never(case: &Case<'_, '_>, name: &str) -> Finding {
    let refused = case.frames.iter().rfind(|at| refuses(at, name));
    let cause = match refused {
        Some(close) => format!("{}, and no basic.consume followed", deed(*close)),
        None if attempts(case.entries, name) == 0 => format!("{name} never connected"),
        None => format!("{name} never consumed (no basic.consume)"),
    };
    let why = "the broker delivers only to a consumer: connect, declare, bind, then consume";
    case.finding(Topic::Consume, &cause, why)
}

/// What the service did after its consumer had ended.
pub(crate) fn aftermath(entries: &[Entry], service: &str, end: &End) -> String {
    let later = &entries[end.index..];
    let mut changes = later.iter().filter_map(|entry| match &entry.event {
        Event::Service { service: own, what } if own == service => Some((entry.t, what)),
        _ => None,
    });
    let did = match (changes.next_back(), attempts(later, service)) {
        (Some((t, Change::Ended(exit))), _) => format!("{service} ended at {t:.3} s ({exit})"),
        (_, 0) => "it did not connect again".to_owned(),
        (_, n) => format!("it connected {n} time(s) after that"),
    };
    format!("no basic.consume followed: {did}")
}

/// How often the service tried to connect.
fn attempts(entries: &[Entry], service: &str) -> usize {
    let tries = |entry: &&Entry| {
        matches!(&entry.event, Event::Connection { service: own, what, .. }
            if own == service && what.is_attempt())
    };
    entries.iter().filter(tries).count()
}
