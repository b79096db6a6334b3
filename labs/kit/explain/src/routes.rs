//! Where each message goes, for a picture of the run.

use super::frames::{At, frames, word};
use super::topology::Topology;
use wiretap::{CheckEvent, Entry, Event, Frame, Method};

/// Where the messages of a journal go, as far as the journal shows.
#[derive(Debug)]
pub struct Routes<'a> {
    entries: &'a [Entry],
    topology: Topology<'a>,
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
