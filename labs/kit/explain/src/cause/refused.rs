//! No queue took the message, and the broker said so: it returned, nacked or never confirmed it.

use super::unrouted::why_unrouted;
use super::{Case, confirm_number, direct_to, sent};
use crate::frames::{At, after, deed};
use crate::{Finding, Topic};
use wiretap::{Event, Method, Side};

const REPUBLISH: &str =
    "the message is in no queue: the service must publish it again, or report the failure";

pub(super) fn returned(case: &Case<'_, '_>) -> Option<Finding> {
    let id = case.publish.frame.message_id();
    let mut later = after(case.frames, case.publish.index).iter();
    let back = later
        .find(|at| at.frame.method == Method::BasicReturn && at.frame.message_id() == id)?
        .t;
    let sent = sent(&case.publish);
    let came_back = format!("{sent} and returned as unroutable (basic.return) at {back:.3} s");
    let cause = why_unrouted(case).map(|(cause, _)| cause);
    let blameless = cause.is_none() || case.queue_taken_away();
    let Some(cause) = cause.filter(|_| !blameless) else {
        let service = &case.publish.frame.service;
        let observed = format!("{came_back}; {service} did not publish it again");
        return Some(Finding::new(Topic::Publish, observed, REPUBLISH));
    };
    let (topic, why) = match direct_to(case.publish.frame) {
        None => (
            Topic::Routing,
            "an exchange stores nothing: a message that no queue is bound for is lost",
        ),
        Some(name) => (
            // An exchange of that name is what the publisher meant.
            case.topology
                .kind(name)
                .map_or(Topic::Routing, |_| Topic::Publish),
            "the default exchange routes by queue name: without that queue the message is lost",
        ),
    };
    let observed = format!("{came_back}: {cause}");
    Some(Finding::new(topic, observed, why))
}

pub(super) fn refused(case: &Case<'_, '_>) -> Option<Finding> {
    let number = confirm_number(case.frames, case.publish);
    let answer = |method| answered(case, number?, method);
    if case.by_check() || answer(Method::BasicAck).is_some() {
        return None;
    }
    let sent = sent(&case.publish);
    if let Some(nack) = answer(Method::BasicNack) {
        let observed = format!(
            "{sent} and refused by the broker at {:.3} s (basic.nack)",
            nack.t
        );
        return Some(Finding::new(Topic::Publish, observed, REPUBLISH));
    }
    let never = format!("{sent} and the broker never confirmed it");
    if let Some(close) = closed(case) {
        // 404: there is no such exchange.
        let topic = match close.frame.args["reply_code"].as_u64() {
            Some(404) => Topic::Routing,
            _ => Topic::Publish,
        };
        let observed = format!("{never}: {}", deed(close));
        let why = "the broker drops a message whose publish is an error, and closes the channel";
        return Some(Finding::new(topic, observed, why));
    }
    number?;
    Some(Finding::new(
        Topic::Publish,
        format!("{never} (no basic.ack){}", cut(case)),
        "the broker is responsible for a message only after it has confirmed it",
    ))
}

/// The broker's ack or nack of this publish.
fn answered<'a>(case: &Case<'a, '_>, number: u64, method: Method) -> Option<At<'a>> {
    let later = after(case.frames, case.publish.index).iter();
    let mut open = later.take_while(|at| !at.frame.reopens(case.publish.frame));
    let answers = |at: &&At<'_>| {
        at.frame.from == Side::Server
            && at.frame.method == method
            && at.frame.same_channel(case.publish.frame)
            && at.frame.covers(number)
    };
    open.find(answers).copied()
}

/// The broker's `channel.close` for this publish. It names no publish, so it must be the first
/// thing that the broker says on the channel after it.
fn closed<'a>(case: &Case<'a, '_>) -> Option<At<'a>> {
    let own = case.publish.frame;
    let mut later = after(case.frames, case.publish.index).iter();
    let next = later.find(|at| at.frame.from == Side::Server && at.frame.same_channel(own))?;
    Some(*next).filter(|at| at.frame.method == Method::ChannelClose)
}

/// How the publisher's connection ended after the publish, if it did.
fn cut(case: &Case<'_, '_>) -> String {
    let own = case.publish.frame;
    let mut later = case.entries[case.publish.index..].iter();
    let end = later.find_map(|entry| match &entry.event {
        Event::Connection {
            service,
            connection,
            what,
        } if *service == own.service && *connection == own.connection => {
            what.is_end().then_some((entry.t, what))
        }
        _ => None,
    });
    let told = |(t, what)| format!(" before its connection ended at {t:.3} s ({what})");
    end.map(told).unwrap_or_default()
}
