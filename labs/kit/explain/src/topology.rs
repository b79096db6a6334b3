//! What the journal shows of exchanges, queues, bindings and consumers: when each began, and when
//! and how it ended. Start reading at [`Topology::new`].
//!
//! The journal has what crossed a wiretap, and what the check did itself. What an administrator's
//! definitions create leaves no trace in it.

mod endings;
mod replay;
mod routing;

use super::frames::{At, deed, word};
use wiretap::Method;

/// What a service asked for and got, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Fact<'a> {
    /// `exchange.declare`, `queue.declare`, `queue.bind` or `basic.consume`.
    pub(super) request: At<'a>,
    /// The queue that the request is about; empty for an exchange.
    pub(super) queue: &'a str,
    /// The broker's answer, or the request while there is none.
    pub(super) from: At<'a>,
    pub(super) end: Option<End>,
}

#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) index: usize,
    pub(super) t: f64,
    /// A clause with its subject: "history closed its channel at 1.234 s (channel.close)".
    pub(super) how: String,
}

#[derive(Debug)]
pub(super) struct Topology<'a> {
    facts: Vec<Fact<'a>>,
}

impl<'a> Fact<'a> {
    pub(super) fn is(&self, method: Method) -> bool {
        self.request.frame.method == method
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.request.frame.flag(name)
    }

    pub(super) fn service(&self) -> &'a str {
        &self.request.frame.service
    }

    pub(super) fn exchange(&self) -> &'a str {
        word(self.request.frame, "exchange")
    }

    pub(super) fn key(&self) -> &'a str {
        word(self.request.frame, "routing_key")
    }

    /// Among the optional arguments of a queue: a number, as `x-message-ttl`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.request.frame.args["arguments"][name].as_u64()
    }

    /// Among the optional arguments of a queue: a text, as `x-overflow`.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.request.frame.args["arguments"][name].as_str()
    }

    pub(super) fn lives(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn lived_at(&self, index: usize) -> bool {
        self.from.index <= index && self.ended_before(index).is_none()
    }

    pub(super) fn ended_before(&self, index: usize) -> Option<&End> {
        self.end.as_ref().filter(|end| end.index <= index)
    }

    /// Whether this consumer has this tag, of its own choice or the broker's.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        let tags = [self.request, self.from].map(|at| word(at.frame, "consumer_tag"));
        tags.contains(&tag)
    }

    /// "by payment itself (queue.bind)", for its consumer.
    pub(super) fn by(&self, consumer: Option<&str>) -> String {
        let own = consumer == Some(self.service());
        let itself = if own { " itself" } else { "" };
        let method = self.request.frame.method;
        format!("by {}{itself} ({method})", self.service())
    }
}

impl<'a> Topology<'a> {
    pub(super) fn facts(&self) -> &[Fact<'a>] {
        &self.facts
    }

    pub(super) fn all(&self, method: Method) -> impl DoubleEndedIterator<Item = &Fact<'a>> {
        self.facts.iter().filter(move |fact| fact.is(method))
    }

    /// The lives of the queue with this name.
    pub(super) fn queue(&self, name: &str) -> impl DoubleEndedIterator<Item = &Fact<'a>> {
        let all = self.all(Method::QueueDeclare);
        all.filter(move |fact| fact.queue == name)
    }

    /// What this service has consumed from.
    pub(super) fn consumers_of(&self, name: &str) -> impl DoubleEndedIterator<Item = &Fact<'a>> {
        let all = self.all(Method::BasicConsume);
        all.filter(move |fact| fact.service() == name)
    }

    /// Whether some service consumes from this queue now.
    pub(super) fn consumed(&self, queue: &str) -> bool {
        let mut all = self.all(Method::BasicConsume);
        all.any(|fact| fact.queue == queue && fact.lives())
    }
}
