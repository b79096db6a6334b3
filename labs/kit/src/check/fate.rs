//! What became of a message, told from the journal: why a check that misses it failed.

use std::collections::BTreeMap;

use super::{Failure, fail};
use crate::wiretap::{Entry, Event, Frame, Journal, Side};

/// What a finding is about; a chapter knows which of its holes that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The message was never sent, or not as it should be: transient, or taken for sent
    /// before the broker's word.
    Publish,
    /// It was sent on a channel that is not in confirm mode.
    Confirm,
    /// Its queue does not outlive the broker.
    Durability,
    /// No queue got it.
    Routing,
    /// Nobody took it from the queue.
    Consume,
    /// It was handed over without asking for an ack.
    NoAck,
    /// It was acked, rejected or kept at the wrong time.
    Settle,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the journal shows, with the AMQP method.
    pub observed: String,
    /// Why that loses messages.
    pub why: &'static str,
    /// What it is about.
    pub topic: Topic,
}

impl Finding {
    fn new(topic: Topic, observed: String, why: &'static str) -> Self {
        Self {
            observed,
            why,
            topic,
        }
    }

    /// The failure of a check that expected something else of this message.
    #[must_use]
    pub fn failure(&self, expected: &str, seen: &str, hole: u32) -> Failure {
        fail(expected, format!("{seen}; {}", self.observed))
            .because(self.why)
            .hole(hole)
    }
}

/// A frame, where it stands in the journal, and when it was seen.
#[derive(Clone, Copy)]
struct At<'a> {
    index: usize,
    t: f64,
    frame: &'a Frame,
}

/// Tells what became of the message with this id.
#[must_use]
pub fn fate(journal: &Journal, id: &str) -> Finding {
    story(journal, id, None)
}

/// Tells what became of the copy of the message with this id that `consumer` should have got.
#[must_use]
pub fn fate_at(journal: &Journal, id: &str, consumer: &str) -> Finding {
    story(journal, id, Some(consumer))
}

fn story(journal: &Journal, id: &str, consumer: Option<&str>) -> Finding {
    journal.read(|entries| {
        let frames: Vec<At<'_>> = entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match &entry.event {
                Event::Amqp(frame) => Some(At {
                    index,
                    t: entry.t,
                    frame,
                }),
                _ => None,
            })
            .collect();
        let delivery = frames.iter().rfind(|at| {
            at.frame.method == "basic.deliver"
                && at.frame.message_id() == Some(id)
                && consumer.is_none_or(|name| at.frame.service == name)
        });
        let publish = frames
            .iter()
            .rfind(|at| at.frame.method == "basic.publish" && at.frame.message_id() == Some(id));
        match (publish.copied(), delivery.copied()) {
            (publish, Some(delivery)) => delivered(entries, &frames, publish, delivery),
            (Some(publish), None) => undelivered(entries, &frames, publish, consumer),
            (None, None) => Finding::new(
                Topic::Publish,
                format!("no basic.publish carries message_id {}", short(id)),
                "what was promised to the caller has to be in a message, under its id",
            ),
        }
    })
}

/// The first characters of an id: enough to find it in the journal.
#[must_use]
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

const FULL_HANDS: &str =
    "what is not settled counts for the prefetch: who has so many gets nothing more";

fn delivered(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: Option<At<'_>>,
    delivery: At<'_>,
) -> Finding {
    let id = short(delivery.frame.message_id().unwrap_or("?"));
    let to = format!("{} got {id} at {:.3} s", delivery.frame.service, delivery.t);
    let consumes = frames.iter().filter(|at| {
        at.frame.method == "basic.consume" && at.frame.service == delivery.frame.service
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
        Some((at, "basic.ack")) => Finding::new(
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
                let holders = holders(entries, frames, publish?)?;
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

/// What settled this delivery.
fn settlement<'a>(frames: &[At<'a>], delivery: At<'_>) -> Option<At<'a>> {
    let later = frames.iter().skip_while(|at| at.index <= delivery.index);
    let mut open = later.take_while(|at| !at.frame.reopens(delivery.frame));
    open.find(|at| at.frame.settles(delivery.frame)).copied()
}

/// Who has how many messages of the same queue in hand.
fn holders(entries: &[Entry], frames: &[At<'_>], publish: At<'_>) -> Option<String> {
    let queue = &publish.frame.args["routing_key"];
    let mut held = BTreeMap::new();
    for consume in frames
        .iter()
        .filter(|at| at.frame.method == "basic.consume" && at.frame.args["queue"] == *queue)
    {
        let open = frames.iter().filter(|at| {
            at.frame.method == "basic.deliver"
                && at.frame.same_channel(consume.frame)
                && settlement(frames, **at).is_none()
                && !ended(&entries[at.index..], at.frame)
        });
        *held.entry(consume.frame.service.as_str()).or_insert(0) += open.count();
    }
    held.retain(|_, count| *count > 0);
    let told = held
        .iter()
        .map(|(service, count)| format!("{count} with {service}"));
    (!held.is_empty()).then(|| told.collect::<Vec<_>>().join(", "))
}

/// Whether the connection of `frame` ended in these entries.
fn ended(entries: &[Entry], frame: &Frame) -> bool {
    entries.iter().any(|entry| {
        matches!(&entry.event, Event::Link { service, connection: Some(number), what }
            if *service == frame.service && *number == frame.connection
                && (what == "closed" || what.starts_with("lost")))
    })
}

/// What a broker that died after the publish has forgotten, because it was not told to keep it.
fn fleeting(entries: &[Entry], frames: &[At<'_>], publish: At<'_>) -> Option<Finding> {
    entries[publish.index..].iter().find(
        |entry| matches!(&entry.event, Event::Check { what } if what.starts_with("broker killed")),
    )?;
    let sent = sent(&publish);
    let message = publish.frame.message.as_ref();
    if message.is_some_and(|message| !message.persistent) {
        return Some(Finding::new(
            Topic::Publish,
            format!("{sent} as transient (delivery_mode 1), then the broker died"),
            "the broker keeps transient messages in memory only",
        ));
    }
    // Which queues a named exchange put it into, the wire does not say.
    let queue = direct_to(publish.frame)?;
    let fleeting = frames.iter().any(|at| {
        at.frame.method == "queue.declare"
            && at.frame.args["queue"].as_str() == Some(queue)
            && !at.frame.flag("durable")
            && !at.frame.flag("passive")
    });
    fleeting.then(|| {
        Finding::new(
            Topic::Durability,
            format!("{sent} to a queue that is not durable, then the broker died"),
            "a queue that is not durable goes with the broker, and its messages with it",
        )
    })
}

/// The queue to which this was published by its name: over the default exchange.
fn direct_to(publish: &Frame) -> Option<&str> {
    let default = publish.args["exchange"].as_str().is_none_or(str::is_empty);
    publish.args["routing_key"].as_str().filter(|_| default)
}

/// When the message was published, and where to.
fn sent(publish: &At<'_>) -> String {
    let id = short(publish.frame.message_id().unwrap_or("?"));
    let word = |name: &str| publish.frame.args[name].as_str().unwrap_or("?");
    let to = match direct_to(publish.frame) {
        Some(queue) => format!("`{queue}`"),
        None => format!(
            "exchange `{}` with key `{}`",
            word("exchange"),
            word("routing_key")
        ),
    };
    format!("{id} was published to {to} at {:.3} s", publish.t)
}

fn undelivered(
    entries: &[Entry],
    frames: &[At<'_>],
    publish: At<'_>,
    consumer: Option<&str>,
) -> Finding {
    let sent = sent(&publish);
    let id = publish.frame.message_id();
    let named = direct_to(publish.frame).is_none();
    let later = || frames.iter().filter(|at| at.index > publish.index);
    if later().any(|at| at.frame.method == "basic.return" && at.frame.message_id() == id) {
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
            && at.frame.method == "basic.ack"
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
    if let Some(holders) = holders(entries, frames, publish) {
        let told = format!("{sent} and confirmed, and waits; unacked meanwhile: {holders}");
        return Finding::new(Topic::Settle, told, FULL_HANDS);
    }
    Finding::new(
        Topic::Consume,
        format!("{sent} and confirmed; nobody took it from the queue"),
        "a consumer whose channel is gone gets nothing more until it consumes again",
    )
}

/// The tag under which the broker confirms this publish: in confirm mode both sides count the
/// publishes of a channel from 1. `None` without confirm mode.
fn confirm_number(frames: &[At<'_>], publish: At<'_>) -> Option<u64> {
    let mut number = None;
    for at in frames.iter().take_while(|at| at.index <= publish.index) {
        if at.frame.reopens(publish.frame) {
            number = None;
        } else if at.frame.same_channel(publish.frame) {
            match at.frame.method {
                "confirm.select" => number = number.or(Some(0)),
                "basic.publish" => number = number.map(|count| count + 1),
                _ => {}
            }
        }
    }
    number
}

#[cfg(test)]
mod tests;
