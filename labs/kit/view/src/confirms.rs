//! Which publishes the broker has not confirmed yet.

use std::collections::{BTreeMap, HashMap};

use crate::depth::Channel;

/// The channels in confirm mode.
#[derive(Debug, Default)]
pub(crate) struct Confirms(HashMap<Channel, Waiting>);

/// Of one channel: both sides count its publishes from 1.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    publishes: BTreeMap<u64, Published>,
}

/// A publish without a confirm.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) id: Option<String>,
    /// The lane of its exchange.
    pub(crate) exchange: usize,
}

impl Confirms {
    pub(crate) fn select(&mut self, channel: Channel) {
        self.0.entry(channel).or_default();
    }

    pub(crate) fn publish(&mut self, channel: &Channel, publish: Published) {
        if let Some(waiting) = self.0.get_mut(channel) {
            waiting.last += 1;
            waiting.publishes.insert(waiting.last, publish);
        }
    }

    /// Takes the publishes that a confirm covers.
    pub(crate) fn take(
        &mut self,
        channel: &Channel,
        covers: impl Fn(u64) -> bool,
    ) -> Vec<Published> {
        let Some(Waiting { publishes, .. }) = self.0.get_mut(channel) else {
            return Vec::new();
        };
        let tags: Vec<_> = publishes
            .keys()
            .copied()
            .filter(|tag| covers(*tag))
            .collect();
        tags.iter()
            .filter_map(|tag| publishes.remove(tag))
            .collect()
    }

    pub(crate) fn forget(&mut self, gone: impl Fn(&Channel) -> bool) {
        self.0.retain(|channel, _| !gone(channel));
    }
}
