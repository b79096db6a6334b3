//! What became of a message, told from the journal: why a check that misses it failed. A failed
//! check's *observed* and *why* are made here.
//!
//! It knows the journal and nothing of checks, chapters or processes. Start reading at
//! [`fate`]; [`told`] is its counterpart for chapters without a broker.

mod broker;
mod delivered;
mod frames;
mod http;
mod unacked;
mod undelivered;

use delivered::delivered;
use frames::frames;
use undelivered::undelivered;
use wiretap::{Journal, Method};

pub use http::told;
pub use unacked::unacked_of;

const FULL_HANDS: &str =
    "unacked messages count for the prefetch: a consumer at its limit gets no more messages";

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
        let frames = frames(entries);
        let delivery = frames.iter().rfind(|at| {
            at.frame.method == Method::BasicDeliver
                && at.frame.message_id() == Some(id)
                && consumer.is_none_or(|name| at.frame.service == name)
        });
        let publish = frames.iter().rfind(|at| {
            at.frame.method == Method::BasicPublish && at.frame.message_id() == Some(id)
        });
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

#[cfg(test)]
mod tests;
