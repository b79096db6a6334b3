//! Where each message goes, for a picture of the run.

use super::frames::{At, frames, word};
use super::topology::{Fact, Topology};
use wiretap::{CheckEvent, Entry, Event, Frame, Method};

/// Where the messages of a journal go, as far as the journal shows.
#[derive(Debug)]
pub struct Routes<'a> {
    entries: &'a [Entry],
    topology: Topology<'a>,
}

/// The beginning or end of a part of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'a> {
    /// The entry with which it begins or ends.
    pub index: usize,
    /// Whether it begins.
    pub begins: bool,
    /// What it is.
    pub part: Part<'a>,
}

/// What a broker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// An exchange.
    Exchange(&'a str),
    /// A queue.
    Queue(&'a str),
    /// A binding of a queue.
    Binding {
        /// To this exchange.
        exchange: &'a str,
        /// The queue.
        queue: &'a str,
        /// The binding key.
        key: &'a str,
    },
    /// A consumer.
    Consumer {
        /// Of this queue.
        queue: &'a str,
        /// The service.
        service: &'a str,
    },
}

impl<'a> Routes<'a> {
    /// The routes in these entries.
    #[must_use]
    pub fn new(entries: &'a [Entry]) -> Self {
        let topology = Topology::new(entries, &frames(entries));
        Self { entries, topology }
    }

    /// The queues that took what was published with the entry at `index`; empty when no queue did, or
    /// the entry is no publish.
    #[must_use]
    pub fn took(&self, index: usize) -> Vec<&'a str> {
        let publish = self.at(index, Method::BasicPublish);
        publish.map_or_else(Vec::new, |at| self.topology.took(at))
    }

    /// The queue of what was delivered with the entry at `index`, and whether with `no_ack`.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<(&'a str, bool)> {
        let at = self.at(index, Method::BasicDeliver)?;
        let mut consumers = self.topology.consumers_of(&at.frame.service);
        let consumer = consumers.rfind(|fact| {
            fact.from.index <= index
                && fact.request.frame.same_channel(at.frame)
                && fact.has_tag(word(at.frame, "consumer_tag"))
        })?;
        Some((consumer.queue, consumer.flag("no_ack")))
    }

    /// The queue that a declare, bind or consume at `index` is about, also where the broker chose its
    /// name.
    #[must_use]
    pub fn queue(&self, index: usize) -> Option<&'a str> {
        let methods = [
            Method::QueueDeclare,
            Method::QueueBind,
            Method::BasicConsume,
        ];
        let mut facts = methods.iter().flat_map(|method| self.topology.all(*method));
        let known = facts.find(|fact| fact.request.index == index);
        let named = || Some(word(self.frame(index)?, "queue")).filter(|name| !name.is_empty());
        known.map(|fact| fact.queue).or_else(named)
    }

    /// The queue to which `queue` passes on what is rejected or expires, if it does so by name.
    #[must_use]
    pub fn dead_letters(&self, queue: &str) -> Option<&str> {
        let declared = self.topology.queue(queue).next_back()?;
        declared
            .text("x-dead-letter-exchange")
            .filter(|name| name.is_empty())?;
        declared.text("x-dead-letter-routing-key")
    }

    /// Whether the journal cannot know the queues of this exchange, because none of its services
    /// declared it.
    #[must_use]
    pub fn is_hidden(&self, exchange: &str) -> bool {
        !exchange.is_empty() && self.topology.kind(exchange).is_none()
    }

    /// What begins and ends, in the order of the entries.
    #[must_use]
    pub fn turns(&self) -> Vec<Turn<'a>> {
        let mut turns = Vec::new();
        for fact in self.topology.facts() {
            let part = part(fact);
            let begin = (fact.from.index, true);
            let end = fact.end.as_ref().map(|end| (end.index, false));
            let both = [begin].into_iter().chain(end);
            turns.extend(both.map(|(index, begins)| Turn {
                index,
                begins,
                part,
            }));
        }
        turns.sort_by_key(|turn| turn.index);
        turns
    }

    /// What has begun and not ended, each with the entries that tell so: a request, and its answer.
    pub fn living(&self) -> impl Iterator<Item = (Part<'a>, [usize; 2])> {
        let living = self.topology.facts().iter().filter(|fact| fact.lives());
        living.map(|fact| (part(fact), [fact.request.index, fact.from.index]))
    }

    fn at(&self, index: usize, method: Method) -> Option<At<'a>> {
        let frame = self.frame(index).filter(|frame| frame.method == method)?;
        let t = self.entries[index].t;
        Some(At { index, t, frame })
    }

    fn frame(&self, index: usize) -> Option<&'a Frame> {
        match &self.entries.get(index)?.event {
            Event::Amqp(frame)
            | Event::Check {
                what: CheckEvent::Published(frame),
            } => Some(frame),
            _ => None,
        }
    }
}

/// What a fact is about.
fn part<'a>(fact: &Fact<'a>) -> Part<'a> {
    let queue = fact.queue;
    match fact.request.frame.method {
        Method::ExchangeDeclare => Part::Exchange(fact.exchange()),
        Method::QueueDeclare => Part::Queue(queue),
        Method::QueueBind => Part::Binding {
            exchange: fact.exchange(),
            queue,
            key: fact.key(),
        },
        _ => Part::Consumer {
            queue,
            service: fact.service(),
        },
    }
}
