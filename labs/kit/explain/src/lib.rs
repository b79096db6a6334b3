//! Explains from the journal what became of a message. A failed check that misses a message takes
//! its *observed* and *why* from here.
//!
//! This crate knows the journal, and nothing of checks or chapters. Start reading at [`fate`];
//! [`http_fate`] does the same for a chapter without a broker. [`loses_messages`] tells which flags of a
//! queue lose messages.

mod broker_loss;
mod cause;
mod confirmed;
mod declared;
mod delivered;
mod frames;
mod http_calls;
mod routes;
mod sent_again;
mod standstill;
mod topology;
mod unacked;
mod unpublished;

use cause::{Case, undelivered};
use delivered::delivered;
use frames::{frames, publish_of};
use topology::Topology;
use unpublished::unpublished;
use wiretap::{Entry, Journal};

pub use confirmed::confirms;
pub use declared::loses_messages;
pub use http_calls::http_fate;
pub use routes::{Part, Routes, Turn};
pub use sent_again::sent_again;
pub use unacked::unacked_of;

const PREFETCH_FULL: &str =
    "unacked messages count against the prefetch: a consumer at its limit gets no more messages";

/// What a finding is about; a chapter knows which of its holes that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The message was never published, was transient, or counted as published before the
    /// broker confirmed it.
    Publish,
    /// It was published on a channel that is not in confirm mode.
    Confirm,
    /// Its queue does not keep it: it is not durable, or a flag or an argument drops messages.
    Durability,
    /// No queue got it.
    Routing,
    /// No consumer got it from its queue.
    Consume,
    /// It was delivered with `no_ack`.
    NoAck,
    /// The consumer acked or rejected it at the wrong time, or never.
    Settle,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the journal shows, with the AMQP method.
    pub observed: String,
    /// Why that loses messages.
    pub why: &'static str,
    /// Which part of the pattern it is about.
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
}

/// Explains what became of the message with this id.
#[must_use]
pub fn fate(journal: &Journal, id: &str) -> Finding {
    journal.read(|entries| explain(entries, id, None))
}

/// Explains what became of the copy of this message that `consumer` should have got.
#[must_use]
pub fn fate_at(journal: &Journal, id: &str, consumer: &str) -> Finding {
    journal.read(|entries| explain(entries, id, Some(consumer)))
}

fn explain(entries: &[Entry], id: &str, consumer: Option<&str>) -> Finding {
    let frames = &*frames(entries);
    let delivery = frames.iter().rfind(|at| {
        at.delivers()
            && at.frame.message_id() == Some(id)
            && consumer.is_none_or(|name| at.frame.service == name)
    });
    let publish = publish_of(entries, id);
    if let Some(delivery) = delivery {
        return delivered(entries, frames, publish, *delivery);
    }
    let Some(publish) = publish else {
        return unpublished(frames, id);
    };
    let topology = &Topology::new(entries, frames);
    undelivered(&Case {
        entries,
        frames,
        topology,
        publish,
        consumer,
    })
}

/// The first characters of an id: enough to find it in the journal.
#[must_use]
pub fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

#[cfg(test)]
mod tests;
