//! The frames of a journal, and what follows from their order.

use std::collections::BTreeMap;

use super::short;
use wiretap::{CheckEvent, Entry, Event, Frame, Method, Side};

/// A frame, where it stands in the journal, and when it was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) index: usize,
    pub(super) t: f64,
    pub(super) frame: &'a Frame,
}

impl At<'_> {
    /// Whether a consumer got a message with this.
    pub(super) fn delivers(&self) -> bool {
        let method = self.frame.method;
        matches!(method, Method::BasicDeliver | Method::BasicGetOk)
    }
}

/// The frames among these entries, in order.
pub(super) fn frames(entries: &[Entry]) -> Vec<At<'_>> {
    let numbered = entries.iter().enumerate();
    let frames = numbered.filter_map(|(index, entry)| match &entry.event {
        Event::Amqp(frame) => Some(At {
            index,
            t: entry.t,
            frame,
        }),
        _ => None,
    });
    frames.collect()
}

/// The frames after this place in the journal.
pub(super) fn after<'f, 'a>(frames: &'f [At<'a>], index: usize) -> &'f [At<'a>] {
    &frames[frames.partition_point(|at| at.index <= index)..]
}

/// The last publish of the message with this id, by a service or by the check.
pub(super) fn publish_of<'a>(entries: &'a [Entry], id: &str) -> Option<At<'a>> {
    let numbered = entries.iter().enumerate().rev();
    let mut publishes = numbered.filter_map(|(index, entry)| match &entry.event {
        Event::Amqp(frame)
        | Event::Check {
            what: CheckEvent::Published(frame),
        } if frame.method == Method::BasicPublish => Some(At {
            index,
            t: entry.t,
            frame,
        }),
        _ => None,
    });
    publishes.find(|at| at.frame.message_id() == Some(id))
}

/// What a frame did, as a clause: "history purged queue `viewed` at 1.234 s (queue.purge)".
pub(super) fn deed(at: At<'_>) -> String {
    let (frame, service) = (at.frame, &at.frame.service);
    let its = match frame.from {
        Side::Client => "its".to_owned(),
        Side::Server => format!("{service}'s"),
    };
    let did = match frame.method {
        Method::BasicCancel => format!("cancelled {its} consumer"),
        Method::ChannelClose => format!("closed {its} channel"),
        Method::ConnectionClose => format!("closed {its} connection"),
        Method::QueueUnbind => format!("removed binding `{}`", word(frame, "routing_key")),
        Method::QueuePurge => format!("purged queue `{}`", word(frame, "queue")),
        Method::QueueDelete => format!("deleted queue `{}`", word(frame, "queue")),
        _ => format!("deleted exchange `{}`", word(frame, "exchange")),
    };
    let (who, why) = match (frame.from, word(frame, "reply_text")) {
        (Side::Client, _) => (&**service, String::new()),
        (Side::Server, "") => ("the broker", String::new()),
        (Side::Server, text) => ("the broker", format!(": {text}")),
    };
    format!("{who} {did} at {:.3} s ({}{why})", at.t, frame.method)
}

/// A text among the arguments of a frame; empty when there is none.
pub(super) fn word<'a>(frame: &'a Frame, name: &str) -> &'a str {
    frame.args[name].as_str().unwrap_or_default()
}

/// Whether the broker closes a channel or connection of this service here.
pub(super) fn refuses(at: &At<'_>, service: &str) -> bool {
    let closes = [Method::ChannelClose, Method::ConnectionClose];
    at.frame.from == Side::Server
        && at.frame.service == service
        && closes.contains(&at.frame.method)
}

/// The ack, nack or reject that settled this delivery.
pub(super) fn settlement<'a>(frames: &[At<'a>], delivery: At<'_>) -> Option<At<'a>> {
    let later = after(frames, delivery.index).iter();
    let mut open = later.take_while(|at| !at.frame.reopens(delivery.frame));
    open.find(|at| at.frame.settles(delivery.frame)).copied()
}

/// Which services hold how many unacked messages of the same queue, as `2 at history`; only
/// `consumer`, if one is named. `None` when no service holds any.
pub(super) fn holders(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: At<'_>,
    consumer: Option<&str>,
) -> Option<String> {
    let mut held = BTreeMap::new();
    for consume in frames.iter().filter(|at| {
        at.frame.method == Method::BasicConsume
            && consumer.is_none_or(|name| at.frame.service == name)
            && same_queue(frames, publish.frame, at.frame)
    }) {
        let open = frames
            .iter()
            .filter(|at| at.frame.same_channel(consume.frame) && is_unacked(entries, frames, **at));
        *held.entry(consume.frame.service.as_str()).or_insert(0) += open.count();
    }
    held.retain(|_, count| *count > 0);
    let parts = held
        .iter()
        .map(|(service, count)| format!("{count} at {service}"));
    (!held.is_empty()).then(|| parts.collect::<Vec<_>>().join(", "))
}

/// Why a message waits whose consumers hold others: for a finding.
pub(super) fn waits_behind(holders: &str) -> String {
    format!("it waits in its queue behind unacked messages: {holders}")
}

/// Whether this is a delivery that the service has not settled yet, and still can.
pub(super) fn is_unacked(entries: &[Entry], frames: &[At<'_>], at: At<'_>) -> bool {
    at.delivers() && settlement(frames, at).is_none() && !ended(&entries[at.index..], at.frame)
}

/// Whether this subscription is to the queue of this message: the publish names the queue, or
/// the subscription got other messages with the same exchange and routing key.
fn same_queue(frames: &[At<'_>], publish: &Frame, consume: &Frame) -> bool {
    let route = |frame: &Frame| {
        (
            frame.args["exchange"].clone(),
            frame.args["routing_key"].clone(),
        )
    };
    direct_to(publish).is_some_and(|queue| consume.args["queue"] == queue)
        || frames.iter().any(|at| {
            at.frame.method == Method::BasicDeliver
                && at.frame.same_channel(consume)
                && route(at.frame) == route(publish)
        })
}

/// Whether the connection of `frame` ended in these entries.
pub(super) fn ended(entries: &[Entry], frame: &Frame) -> bool {
    entries.iter().any(|entry| {
        matches!(&entry.event, Event::Connection { service, connection, what }
            if *service == frame.service && *connection == frame.connection && what.is_end())
    })
}

/// The queue that this publish names; only the default exchange routes by queue name.
pub(super) fn direct_to(publish: &Frame) -> Option<&str> {
    let default = publish.args["exchange"].as_str().is_none_or(str::is_empty);
    publish.args["routing_key"].as_str().filter(|_| default)
}

/// When and where the message was published: the beginning of a finding.
pub(super) fn sent(publish: &At<'_>) -> String {
    let id = short(publish.frame.message_id().unwrap_or("?"));
    let word = |name: &str| publish.frame.args[name].as_str().unwrap_or("?");
    let to = match direct_to(publish.frame) {
        Some(queue) => format!("`{queue}`"),
        None => match word("routing_key") {
            "" => format!("exchange `{}` with an empty key", word("exchange")),
            key => format!("exchange `{}` with key `{key}`", word("exchange")),
        },
    };
    let by = match publish.frame.connection {
        0 => " by the check",
        _ => "",
    };
    format!("{id} was published to {to} at {:.3} s{by}", publish.t)
}

/// The tag under which the broker confirms this publish: in confirm mode both sides count the
/// publishes of a channel from 1. `None` without confirm mode.
pub(super) fn confirm_number(frames: &[At<'_>], publish: At<'_>) -> Option<u64> {
    let mut number = None;
    for at in frames.iter().take_while(|at| at.index <= publish.index) {
        if at.frame.reopens(publish.frame) {
            number = None;
        } else if at.frame.same_channel(publish.frame) {
            match at.frame.method {
                Method::ConfirmSelect => number = number.or(Some(0)),
                Method::BasicPublish => number = number.map(|count| count + 1),
                _ => {}
            }
        }
    }
    number
}
