//! What checks ask a journal.

use super::journal::{Entry, Event, Frame, Journal, Side, frames};

impl Frame {
    /// Whether this is the client's ack, nack or reject of `delivery`, alone or with others.
    #[must_use]
    pub fn settles(&self, delivery: &Self) -> bool {
        self.from == Side::Client
            && matches!(self.method, "basic.ack" | "basic.nack" | "basic.reject")
            && self.same_channel(delivery)
            && delivery.tag().is_some_and(|tag| self.covers(tag))
    }

    /// Whether this ack or nack is for `tag`, alone or with others; tag 0 with `multiple` is
    /// for all that is outstanding.
    #[must_use]
    pub fn covers(&self, tag: u64) -> bool {
        let multiple = self.flag("multiple");
        self.tag()
            .is_some_and(|own| own == tag || (multiple && (own >= tag || own == 0)))
    }

    /// Whether this opens the channel of `earlier` again: delivery tags count from 1 again.
    #[must_use]
    pub fn reopens(&self, earlier: &Self) -> bool {
        self.method == "channel.open" && self.same_channel(earlier)
    }

    /// Whether both crossed the same channel of the same connection.
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        self.service == other.service
            && self.connection == other.connection
            && self.channel == other.channel
    }
}

impl Journal {
    /// How often the message with this id was delivered to the service.
    #[must_use]
    pub fn deliveries(&self, service: &str, id: &str) -> usize {
        self.read(|entries| deliveries(entries, service, id).count())
    }

    /// The last delivery of the message with this id to the service.
    #[must_use]
    pub fn delivery(&self, service: &str, id: &str) -> Option<Frame> {
        self.read(|entries| deliveries(entries, service, id).next_back().cloned())
    }

    /// The most messages that one channel of the service ever had in hand at once: delivered
    /// on it, and not settled yet.
    #[must_use]
    pub fn most_unacked(&self, service: &str) -> usize {
        self.read(|entries| {
            let (mut held, mut most): (Vec<&Frame>, usize) = (Vec::new(), 0);
            for frame in frames(entries).filter(|frame| frame.service == service) {
                match frame.method {
                    "channel.open" => held.retain(|delivery| !frame.reopens(delivery)),
                    "basic.deliver" => {
                        held.push(frame);
                        let beside = held.iter().filter(|delivery| delivery.same_channel(frame));
                        most = most.max(beside.count());
                    }
                    _ => held.retain(|delivery| !frame.settles(delivery)),
                }
            }
            most
        })
    }

    /// The ack, nack or reject with which the service settled the last delivery of the
    /// message with this id.
    #[must_use]
    pub fn settlement(&self, service: &str, id: &str) -> Option<Frame> {
        self.read(|entries| {
            let delivery = deliveries(entries, service, id).next_back()?;
            frames(entries)
                .skip_while(|frame| !std::ptr::eq(*frame, delivery))
                .take_while(|frame| !frame.reopens(delivery))
                .find(|frame| frame.settles(delivery))
                .cloned()
        })
    }

    /// Whether the service acked the last delivery of the message with this id.
    #[must_use]
    pub fn acked(&self, service: &str, id: &str) -> bool {
        let settled = self.settlement(service, id);
        settled.is_some_and(|frame| frame.method == "basic.ack")
    }

    /// Whether the service rejected the last delivery of the message with this id, without
    /// requeue.
    #[must_use]
    pub fn rejected(&self, service: &str, id: &str) -> bool {
        let settled = self.settlement(service, id);
        settled.is_some_and(|frame| frame.method != "basic.ack" && !frame.flag("requeue"))
    }

    /// The prefetch that the service asked for on the channel of its first `basic.consume`,
    /// before that; `None` when it asked for none.
    #[must_use]
    pub fn prefetch(&self, service: &str) -> Option<u64> {
        let frames = self.frames(|frame| frame.service == service && frame.from == Side::Client);
        let at = frames
            .iter()
            .position(|frame| frame.method == "basic.consume")?;
        let qos = frames[..at]
            .iter()
            .rfind(|frame| frame.method == "basic.qos" && frame.same_channel(&frames[at]))?;
        qos.args["prefetch_count"]
            .as_u64()
            .filter(|&count| count > 0)
    }

    /// How often `what` befell the connections of the service: `opened`, `turned away`.
    #[must_use]
    pub fn link_count(&self, service: &str, what: &str) -> usize {
        self.read(|entries| {
            let hit = |event: &Event| {
                matches!(event, Event::Link { service: role, what: told, .. }
                    if role == service && told == what)
            };
            entries.iter().filter(|entry| hit(&entry.event)).count()
        })
    }

    /// When the service called, whether it was let in or turned away, in seconds since the run
    /// of the check began, in order. A call to a port that refuses is not seen.
    #[must_use]
    pub fn calls(&self, service: &str) -> Vec<f64> {
        self.read(|entries| {
            let called = |event: &Event| {
                matches!(event, Event::Link { service: role, what, connection: Some(_) }
                    if role == service && (what == "opened" || what == "turned away"))
            };
            let calls = entries.iter().filter(|entry| called(&entry.event));
            calls.map(|entry| entry.t).collect()
        })
    }

    /// Whether a connection of the service has ended, by itself or by the check.
    #[must_use]
    pub fn disconnected(&self, service: &str) -> bool {
        self.read(|entries| {
            entries.iter().any(|entry| {
                matches!(&entry.event, Event::Link { service: role, connection: Some(_), what }
                    if role == service && (what == "closed" || what.starts_with("lost")))
            })
        })
    }
}

/// The deliveries of the message with this id to the service.
fn deliveries<'a>(
    entries: &'a [Entry],
    service: &str,
    id: &str,
) -> impl DoubleEndedIterator<Item = &'a Frame> {
    frames(entries).filter(move |frame| {
        frame.method == "basic.deliver"
            && frame.service == service
            && frame.message_id() == Some(id)
    })
}

#[cfg(test)]
mod tests;
