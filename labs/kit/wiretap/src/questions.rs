//! What checks ask a journal.

use super::Method;
use super::event::{ConnectionEvent, Entry, Event};
use super::frame::{Frame, Side};
use super::journal::{Journal, frames};

impl Frame {
    /// Whether with this frame the client acks, nacks or rejects `delivery`, alone or with
    /// others.
    #[must_use]
    pub fn settles(&self, delivery: &Self) -> bool {
        self.from == Side::Client
            && matches!(
                self.method,
                Method::BasicAck | Method::BasicNack | Method::BasicReject
            )
            && self.same_channel(delivery)
            && delivery.tag().is_some_and(|tag| self.covers(tag))
    }

    /// Whether this ack, nack or reject is for `tag`, alone or with others. Tag 0 with
    /// `multiple` is for every unacked delivery of the channel.
    #[must_use]
    pub fn covers(&self, tag: u64) -> bool {
        let multiple = self.flag("multiple");
        self.tag()
            .is_some_and(|own| own == tag || (multiple && (own >= tag || own == 0)))
    }

    /// Whether this opens the channel of `earlier` again: from here on its delivery tags count
    /// from 1 again.
    #[must_use]
    pub fn reopens(&self, earlier: &Self) -> bool {
        self.method == Method::ChannelOpen && self.same_channel(earlier)
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

    /// The most unacked messages that one channel of the service ever had at once.
    #[must_use]
    pub fn most_unacked(&self, service: &str) -> usize {
        self.read(|entries| {
            let (mut held, mut most): (Vec<&Frame>, usize) = (Vec::new(), 0);
            for frame in frames(entries).filter(|frame| frame.service == service) {
                match frame.method {
                    Method::ChannelOpen => held.retain(|delivery| !frame.reopens(delivery)),
                    Method::BasicDeliver => {
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
        settled.is_some_and(|frame| frame.method == Method::BasicAck)
    }

    /// Whether the service rejected the last delivery of the message with this id, without
    /// requeue.
    #[must_use]
    pub fn rejected(&self, service: &str, id: &str) -> bool {
        let settled = self.settlement(service, id);
        settled.is_some_and(|frame| frame.method != Method::BasicAck && !frame.flag("requeue"))
    }

    /// The prefetch that the service asked for on the channel of its first `basic.consume`,
    /// before that; `None` when it asked for none.
    #[must_use]
    pub fn prefetch(&self, service: &str) -> Option<u64> {
        let frames = self.frames(|frame| frame.service == service && frame.from == Side::Client);
        let at = frames
            .iter()
            .position(|frame| frame.method == Method::BasicConsume)?;
        let qos = frames[..at]
            .iter()
            .rfind(|frame| frame.method == Method::BasicQos && frame.same_channel(&frames[at]))?;
        qos.args["prefetch_count"]
            .as_u64()
            .filter(|&count| count > 0)
    }

    /// How often `what` happened to connections of the service.
    #[must_use]
    pub fn connection_count(&self, service: &str, what: &ConnectionEvent) -> usize {
        self.read(|entries| {
            let all = connection_events(entries, service);
            all.filter(|(_, event)| *event == what).count()
        })
    }

    /// When the service tried to connect, whether the link let it in or turned it away, in
    /// seconds since the run of the check began, in order. The journal does not see an attempt
    /// that a closed port refuses.
    #[must_use]
    pub fn calls(&self, service: &str) -> Vec<f64> {
        self.read(|entries| {
            connection_events(entries, service)
                .filter(|(_, event)| event.is_attempt())
                .map(|(t, _)| t)
                .collect()
        })
    }

    /// Whether a connection of the service has ended, by itself or by the check.
    #[must_use]
    pub fn disconnected(&self, service: &str) -> bool {
        self.read(|entries| connection_events(entries, service).any(|(_, event)| event.is_end()))
    }
}

/// What happened to the connections of the service, with the times.
fn connection_events<'a>(
    entries: &'a [Entry],
    service: &str,
) -> impl Iterator<Item = (f64, &'a ConnectionEvent)> {
    entries.iter().filter_map(move |entry| match &entry.event {
        Event::Connection {
            service: role,
            what,
            ..
        } if role == service => Some((entry.t, what)),
        _ => None,
    })
}

/// The deliveries of the message with this id to the service.
fn deliveries<'a>(
    entries: &'a [Entry],
    service: &str,
    id: &str,
) -> impl DoubleEndedIterator<Item = &'a Frame> {
    frames(entries).filter(move |frame| {
        frame.method == Method::BasicDeliver
            && frame.service == service
            && frame.message_id() == Some(id)
    })
}
