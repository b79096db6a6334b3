//! What a service holds at one moment, and whether it holds more after more work.

use std::collections::BTreeSet;
use std::fmt;

use wiretap::{ConnectionEvent, Event, Journal, Method};

/// Memory that a program may take between two looks without any leak: buffers and the allocator's
/// own pages.
const SLACK: u64 = 3 << 20;
/// Connections, channels and threads that may come with the load.
const FEW: usize = 3;
/// One more for each so many operations is a leak.
const PER: usize = 10;

/// The names of those leaks which may be none: an allocator keeps memory for later, and a pool the
/// threads that the busiest moment needed.
pub const MAYBE_KEPT: [&str; 2] = [THREADS, MEMORY];
/// See [`MAYBE_KEPT`].
pub const MEMORY: &str = "memory";
const THREADS: &str = "threads";

/// The connections and channels of a service that are open, as the wire shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// Connections to the broker.
    pub connections: usize,
    /// Channels, on all these connections.
    pub channels: usize,
}

impl Links {
    /// Those of `service` now.
    #[must_use]
    pub fn of(journal: &Journal, service: &str) -> Self {
        let (mut connections, mut channels) = (BTreeSet::new(), BTreeSet::new());
        journal.read(|entries| {
            for entry in entries {
                match &entry.event {
                    Event::Connection {
                        service: name,
                        connection,
                        what,
                    } if name == service => {
                        if *what == ConnectionEvent::Opened {
                            connections.insert(*connection);
                        } else if what.is_end() {
                            connections.remove(connection);
                            channels.retain(|(of, _)| of != connection);
                        }
                    }
                    Event::Amqp(frame) if frame.service == service => {
                        let channel = (frame.connection, frame.channel);
                        match frame.method {
                            Method::ChannelOpen => _ = channels.insert(channel),
                            Method::ChannelClose => _ = channels.remove(&channel),
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
        });
        Self {
            connections: connections.len(),
            channels: channels.len(),
        }
    }
}

/// What a service holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its connections and channels.
    pub links: Links,
    /// Its threads; 0 where the system does not say.
    pub threads: usize,
    /// Its resident memory, in bytes.
    pub memory: u64,
}

impl Usage {
    /// What grew from here to `later`, while the service did `operations` more of what it had done as
    /// often before; `None` when it holds what it held.
    #[must_use]
    pub fn leak(&self, later: &Self, operations: usize) -> Option<&'static str> {
        let most = FEW.max(operations / PER);
        let grew = |before: usize, after: usize| after >= before + most;
        if grew(self.links.connections, later.links.connections) {
            Some("connections")
        } else if grew(self.links.channels, later.links.channels) {
            Some("channels")
        } else if grew(self.threads, later.threads) {
            Some(THREADS)
        } else if later.memory > self.memory + SLACK {
            Some(MEMORY)
        } else {
            None
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Links {
            connections,
            channels,
        } = self.links;
        let mebibytes = self.memory as f64 / f64::from(1 << 20);
        write!(
            f,
            "{connections} connection(s), {channels} channel(s), {} threads, {mebibytes:.1} MiB",
            self.threads
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use proof::Scratch;
    use serde_json::Value;
    use wiretap::{Frame, Side};

    fn usage(connections: usize, channels: usize, threads: usize, memory: u64) -> Usage {
        Usage {
            links: Links {
                connections,
                channels,
            },
            threads,
            memory,
        }
    }

    #[test]
    fn what_grows_with_the_work_is_a_leak_and_what_comes_with_the_load_is_not() {
        let before = usage(1, 2, 5, 10 << 20);
        assert_eq!(before.leak(&usage(2, 4, 7, 12 << 20), 100), None);
        assert_eq!(
            before.leak(&usage(11, 2, 5, 10 << 20), 100),
            Some("connections")
        );
        assert_eq!(
            before.leak(&usage(1, 12, 5, 10 << 20), 100),
            Some("channels")
        );
        assert_eq!(before.leak(&usage(1, 2, 8, 10 << 20), 5), Some("threads"));
        assert_eq!(before.leak(&usage(1, 2, 5, 14 << 20), 100), Some("memory"));
    }

    #[test]
    fn a_closed_connection_takes_its_channels_with_it() {
        let scratch = Scratch::new("links");
        let journal = Journal::create(scratch.path(), "02", "links", 1).unwrap();
        let connection = |number, what| {
            journal.record(Event::Connection {
                service: "gateway".to_owned(),
                connection: number,
                what,
            });
        };
        let channel = |connection, channel, method| {
            journal.record(Event::Amqp(Frame {
                service: "gateway".to_owned(),
                connection,
                from: Side::Client,
                channel,
                method,
                args: Value::Null,
                message: None,
            }));
        };
        let links = || {
            let links = Links::of(&journal, "gateway");
            (links.connections, links.channels)
        };
        connection(1, ConnectionEvent::Opened);
        connection(2, ConnectionEvent::Opened);
        channel(1, 1, Method::ChannelOpen);
        channel(1, 2, Method::ChannelOpen);
        channel(2, 1, Method::ChannelOpen);
        assert_eq!(links(), (2, 3));
        channel(1, 2, Method::ChannelClose);
        assert_eq!(links(), (2, 2));
        connection(1, ConnectionEvent::Closed);
        assert_eq!(links(), (1, 1));
    }
}
