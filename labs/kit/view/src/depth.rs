//! How many messages each queue holds, counted from what crossed the wire.

use std::collections::BTreeMap;

use serde::Serialize;

/// The messages of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// They wait for a consumer.
    pub ready: u64,
    /// A consumer has them, and has not settled them.
    pub unacked: u64,
}

/// A channel of a service: name, connection, number.
pub(crate) type Channel = (String, u32, u16);

/// An unsettled delivery.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) queue: usize,
    pub(crate) id: Option<String>,
}

/// All queues, and who holds what of them.
#[derive(Debug, Default)]
pub(crate) struct Depths {
    queues: BTreeMap<usize, Depth>,
    held: BTreeMap<Channel, BTreeMap<u64, Delivery>>,
    changed: Vec<usize>,
}

impl Depths {
    pub(crate) fn add(&mut self, queue: usize) {
        self.change(queue, |depth| depth.ready += 1);
    }

    /// A message that was added did not come in.
    pub(crate) fn take_back(&mut self, queue: usize) {
        self.change(queue, |depth| depth.ready = depth.ready.saturating_sub(1));
    }

    /// The broker's own count, in its answer to a declare.
    pub(crate) fn set_ready(&mut self, queue: usize, ready: u64) {
        if self.of(queue).ready != ready {
            self.change(queue, |depth| depth.ready = ready);
        }
    }

    pub(crate) fn deliver(&mut self, delivery: Delivery, holder: Option<(Channel, u64)>) {
        // What an administrator published was not seen to come in.
        self.change(delivery.queue, |depth| {
            depth.ready = depth.ready.saturating_sub(1);
            depth.unacked += u64::from(holder.is_some());
        });
        if let Some((channel, tag)) = holder {
            self.held.entry(channel).or_default().insert(tag, delivery);
        }
    }

    /// Takes the deliveries that an ack or a reject with this tag covers.
    pub(crate) fn settle(
        &mut self,
        channel: &Channel,
        covers: impl Fn(u64) -> bool,
    ) -> Vec<Delivery> {
        let Some(held) = self.held.get_mut(channel) else {
            return Vec::new();
        };
        let tags: Vec<_> = held.keys().copied().filter(|tag| covers(*tag)).collect();
        let taken: Vec<_> = tags.iter().filter_map(|tag| held.remove(tag)).collect();
        self.taken(&taken);
        taken
    }

    /// Gives back what a connection, or one channel of it, held.
    pub(crate) fn give_back(&mut self, lost: impl Fn(&Channel) -> bool) {
        let gone: Vec<_> = self
            .held
            .keys()
            .filter(|channel| lost(channel))
            .cloned()
            .collect();
        let gone = gone.iter().filter_map(|channel| self.held.remove(channel));
        let taken: Vec<_> = gone.flat_map(BTreeMap::into_values).collect();
        self.taken(&taken);
        for delivery in taken {
            self.add(delivery.queue);
        }
    }

    /// How many messages this queue holds.
    pub(crate) fn of(&self, queue: usize) -> Depth {
        self.queues.get(&queue).copied().unwrap_or_default()
    }

    /// How many deliveries the channels of this service hold.
    pub(crate) fn held_by(&self, service: &str) -> usize {
        let own = self.held.iter().filter(|((name, ..), _)| name == service);
        own.map(|(_, held)| held.len()).sum()
    }

    fn taken(&mut self, taken: &[Delivery]) {
        for delivery in taken {
            self.change(delivery.queue, |depth| {
                depth.unacked = depth.unacked.saturating_sub(1);
            });
        }
    }

    pub(crate) fn empty(&mut self, queue: usize) {
        self.change(queue, |depth| depth.ready = 0);
    }

    fn change(&mut self, queue: usize, how: impl FnOnce(&mut Depth)) {
        how(self.queues.entry(queue).or_default());
        if !self.changed.contains(&queue) {
            self.changed.push(queue);
        }
    }

    /// The queues that changed since the last call, and their depth now.
    pub(crate) fn changes(&mut self) -> Vec<(usize, Depth)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed
            .into_iter()
            .map(|queue| (queue, self.queues[&queue]))
            .collect()
    }
}
