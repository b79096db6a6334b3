//! More connections than a service needs.

use std::collections::BTreeMap;

use super::frames::{At, frames};
use super::{Finding, Topic};
use wiretap::{ConnectionEvent, Entry, Event, Journal, Method};

/// The finding for a service that had more than `meant` connections open at once. `None` when it
/// never had.
#[must_use]
pub fn connections(journal: &Journal, service: &str, meant: usize) -> Option<Finding> {
    journal.read(|entries| crowd(entries, service, meant))
}

pub(super) fn crowd(entries: &[Entry], service: &str, meant: usize) -> Option<Finding> {
    let frames = frames(entries);
    let count = |method| {
        let own = |at: &&At<'_>| at.frame.service == service && at.frame.method == method;
        frames.iter().filter(own).count()
    };
    let (published, delivered) = (count(Method::BasicPublish), count(Method::BasicDeliver));
    let (mut open, mut most, mut opened) = (BTreeMap::new(), Vec::new(), 0);
    for entry in entries {
        match &entry.event {
            Event::Connection {
                service: own,
                connection,
                what,
            } if own == service => {
                if *what == ConnectionEvent::Opened {
                    opened += 1;
                    open.insert(*connection, entry.t);
                } else if what.is_end() {
                    open.remove(connection);
                }
            }
            _ => {}
        }
        if open.len() > most.len() {
            most = open.values().copied().collect();
        }
    }
    if most.len() <= meant {
        return None;
    }
    let (first, last) = (most.first()?, most.last()?);
    let (topic, done) = match published > 0 {
        true => (Topic::Publish, format!("{published} publishes")),
        false => (Topic::Consume, format!("{delivered} deliveries")),
    };
    let observed = format!(
        "{service} had {} connections open at once, opened from {first:.3} s to {last:.3} s; \
             it opened {opened} for {done}",
        most.len()
    );
    let why = "a connection costs both sides memory, a thread and a login: open one and keep it";
    Some(Finding::new(topic, observed, why))
}
