//! Finds a service that repeats the same thing as fast as the machine can.

use std::collections::{HashMap, HashSet};

use wiretap::{ConnectionEvent, Entry, Event, Frame, Journal, Method, Side};

/// A confirm may be lost with its connection, so a message may be sent again a few times.
const MOST_CONFIRMED: usize = 10;
/// A message that is redelivered this often is redelivered for ever.
const MOST_REDELIVERED: usize = 200;
/// More attempts to connect within a second are made without a pause.
const MOST_ATTEMPTS: usize = 40;
/// The most that crosses the wire in one check: more than a hundred times what a right answer needs.
const MOST_FRAMES: usize = 60_000;

/// What is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Publishing a message that the broker has confirmed.
    Publish,
    /// Taking a message and giving it back.
    Requeue,
    /// Connecting.
    Connect,
    /// Anything.
    Methods,
}

/// What a service repeats, and why that does harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storm {
    /// What it repeats.
    pub repeats: Repeats,
    /// What was seen, with the AMQP method.
    pub observed: String,
    /// Why that does harm.
    pub why: &'static str,
}

/// Reads a journal as it grows.
#[derive(Debug, Default)]
pub struct Storms {
    read: usize,
    frames: usize,
    /// The publishes of each channel that wait for a confirm, by their number.
    open: HashMap<Channel, Open>,
    /// How often a message was confirmed, and how often redelivered, by service and id.
    confirmed: HashMap<(String, String), usize>,
    redelivered: HashMap<(String, String), usize>,
    attempts: HashMap<String, Vec<f64>>,
}

type Channel = (String, u32, u16);

#[derive(Debug, Default)]
struct Open {
    published: u64,
    waiting: HashMap<u64, String>,
    /// A returned message is confirmed as well, and rightly sent again.
    returned: HashSet<String>,
}

impl Storms {
    /// Reads what is new in the journal, and returns the first storm in it.
    pub fn look(&mut self, journal: &Journal) -> Option<Storm> {
        journal.read(|entries| {
            let fresh = &entries[self.read.min(entries.len())..];
            self.read = entries.len();
            fresh.iter().find_map(|entry| self.entry(entry))
        })
    }

    fn entry(&mut self, entry: &Entry) -> Option<Storm> {
        match &entry.event {
            Event::Amqp(frame) => self.frame(entry.t, frame),
            Event::Connection { service, what, .. } => self.connection(entry.t, service, what),
            _ => None,
        }
    }

    fn connection(&mut self, t: f64, service: &str, what: &ConnectionEvent) -> Option<Storm> {
        if !what.is_attempt() {
            return None;
        }
        let attempts = self.attempts.entry(service.to_owned()).or_default();
        attempts.push(t);
        attempts.retain(|earlier| *earlier > t - 1.0);
        (attempts.len() > MOST_ATTEMPTS).then(|| Storm {
            repeats: Repeats::Connect,
            observed: format!(
                "{service} connects without a pause: {} times within a second",
                attempts.len()
            ),
            why: "a broker that starts has no time for its work when its clients storm it",
        })
    }

    fn frame(&mut self, t: f64, frame: &Frame) -> Option<Storm> {
        self.frames += 1;
        if self.frames > MOST_FRAMES {
            let (count, service, method) = (self.frames, &frame.service, frame.method);
            return Some(Storm {
                repeats: Repeats::Methods,
                observed: format!(
                    "{count} methods crossed the wire in {t:.1} s, the last a {method} of {service}"
                ),
                why: "a service that works as fast as it can on nothing takes the machine from the others",
            });
        }
        match (frame.from, frame.method) {
            (_, Method::BasicPublish) => self.published(frame),
            (Side::Server, Method::BasicReturn) => self.returned(frame),
            (Side::Server, Method::BasicAck) => return self.confirmed(frame),
            (_, Method::ChannelOpen) => _ = self.open.remove(&channel(frame)),
            (_, Method::BasicDeliver) => return self.redelivered(frame),
            _ => {}
        }
        None
    }

    fn published(&mut self, frame: &Frame) {
        let open = self.open.entry(channel(frame)).or_default();
        open.published += 1;
        if let Some(id) = frame.message_id() {
            open.returned.remove(id);
            open.waiting.insert(open.published, id.to_owned());
        }
    }

    fn returned(&mut self, frame: &Frame) {
        let open = self.open.entry(channel(frame)).or_default();
        open.returned
            .extend(frame.message_id().map(ToOwned::to_owned));
    }

    fn confirmed(&mut self, ack: &Frame) -> Option<Storm> {
        let open = self.open.get_mut(&channel(ack))?;
        // What it connected for has been done: one connection for each message is another mistake.
        self.attempts.remove(&ack.service);
        let mut again = None;
        open.waiting.retain(|number, id| {
            if !ack.covers(*number) {
                return true;
            }
            if !open.returned.remove(id) {
                let of_id = (ack.service.clone(), id.clone());
                let count = self.confirmed.entry(of_id).or_default();
                *count += 1;
                if *count > MOST_CONFIRMED {
                    again = Some((id.clone(), *count));
                }
            }
            false
        });
        let (id, count) = again?;
        let id: String = id.chars().take(8).collect();
        Some(Storm {
            repeats: Repeats::Publish,
            observed: format!(
                "{} sends message {id} again and again (basic.publish), although the broker \
                 confirmed it {count} times (basic.ack)",
                ack.service
            ),
            why: "a confirmed message is the broker's: sent again, it is a duplicate for every consumer",
        })
    }

    fn redelivered(&mut self, delivery: &Frame) -> Option<Storm> {
        if !delivery.flag("redelivered") {
            return None;
        }
        let id = delivery.message_id()?;
        let of_id = (delivery.service.clone(), id.to_owned());
        let count = self.redelivered.entry(of_id).or_default();
        *count += 1;
        (*count > MOST_REDELIVERED).then(|| Storm {
            repeats: Repeats::Requeue,
            observed: format!(
                "{} gets message {} again and again: {count} redeliveries (basic.deliver)",
                delivery.service,
                id.chars().take(8).collect::<String>()
            ),
            why: "a message that is requeued without a pause or a limit keeps broker and consumer busy for ever",
        })
    }
}

fn channel(frame: &Frame) -> Channel {
    (frame.service.clone(), frame.connection, frame.channel)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use proof::Scratch;
    use serde_json::{Value, json};
    use wiretap::Message;

    struct Wire {
        journal: Journal,
        _scratch: Scratch,
    }

    impl Wire {
        fn new() -> Self {
            let scratch = Scratch::new("storm");
            let journal = Journal::create(scratch.path(), "03", "storm", 1).unwrap();
            Self {
                journal,
                _scratch: scratch,
            }
        }

        fn crosses(&self, from: Side, method: Method, args: Value, id: Option<&str>) {
            self.journal.record(Event::Amqp(Frame {
                service: "producer".to_owned(),
                connection: 1,
                from,
                channel: 1,
                method,
                args,
                message: id.map(|id| Message {
                    id: Some(id.to_owned()),
                    ..Message::default()
                }),
            }));
        }

        fn publish(&self, id: &str) {
            self.crosses(Side::Client, Method::BasicPublish, json!({}), Some(id));
        }

        fn ack(&self, tag: u64) {
            let args = json!({ "delivery_tag": tag, "multiple": true });
            self.crosses(Side::Server, Method::BasicAck, args, None);
        }

        fn storm(&self) -> Option<String> {
            Some(Storms::default().look(&self.journal)?.observed)
        }
    }

    #[test]
    fn a_confirmed_message_sent_again_and_again_is_a_storm() {
        let wire = Wire::new();
        for tag in 1..=MOST_CONFIRMED as u64 {
            wire.publish("a duplicate");
            wire.ack(tag);
        }
        assert_eq!(wire.storm(), None);
        wire.publish("a duplicate");
        wire.ack(MOST_CONFIRMED as u64 + 1);
        let storm = wire.storm().unwrap();
        assert!(storm.contains("sends message a dupli"), "{storm}");
    }

    #[test]
    fn a_returned_message_is_rightly_sent_again() {
        let wire = Wire::new();
        for tag in 1..=50 {
            wire.publish("no queue");
            wire.crosses(
                Side::Server,
                Method::BasicReturn,
                json!({}),
                Some("no queue"),
            );
            wire.ack(tag);
        }
        assert_eq!(wire.storm(), None);
    }

    #[test]
    fn a_connection_for_each_message_is_no_storm() {
        let wire = Wire::new();
        for connection in 0..=2 * MOST_ATTEMPTS {
            wire.journal.record(Event::Connection {
                service: "producer".to_owned(),
                connection: connection as u32,
                what: ConnectionEvent::Opened,
            });
            wire.publish(&connection.to_string());
            wire.ack(connection as u64 + 1);
        }
        assert_eq!(wire.storm(), None);
    }

    #[test]
    fn a_message_redelivered_for_ever_is_a_storm() {
        let wire = Wire::new();
        let args = json!({ "redelivered": true });
        for _ in 0..=MOST_REDELIVERED {
            wire.crosses(
                Side::Server,
                Method::BasicDeliver,
                args.clone(),
                Some("poison"),
            );
        }
        assert!(wire.storm().unwrap().contains("201 redeliveries"));
    }

    #[test]
    fn connecting_without_a_pause_is_a_storm() {
        let wire = Wire::new();
        for connection in 0..=MOST_ATTEMPTS {
            assert_eq!(wire.storm(), None);
            wire.journal.record(Event::Connection {
                service: "producer".to_owned(),
                connection: connection as u32,
                what: ConnectionEvent::TurnedAway,
            });
        }
        assert!(wire.storm().unwrap().contains("41 times within a second"));
    }
}
