//! One message at a time, where many should be under way.

use std::collections::{BTreeSet, HashMap};

use super::frames::{At, frames};
use super::{Finding, Topic};
use wiretap::{Journal, Method, Side};

/// Fewer messages do not show a pace.
const ENOUGH: usize = 3;

/// The finding for a service that has only one message under way at a time: as a consumer with a
/// prefetch of 1 or one that polls, or as a publisher that awaits each confirm before it publishes
/// the next message. `None` when it had more under way, or had too few messages to tell.
#[must_use]
pub fn one_at_a_time(journal: &Journal, service: &str) -> Option<Finding> {
    let most = journal.most_unacked(service);
    let prefetch = journal.prefetch(service);
    journal.read(|entries| {
        let frames = frames(entries);
        let own: Vec<_> = frames
            .into_iter()
            .filter(|at| at.frame.service == service)
            .collect();
        let count = |method| own.iter().filter(|at| at.frame.method == method).count();
        let (delivered, got) = (count(Method::BasicDeliver), count(Method::BasicGetOk));
        if got >= ENOUGH {
            let seen = format!("{service} asked for each of {got} messages (basic.get)");
            let why =
                "each basic.get waits for a round trip: basic.consume has the broker send ahead";
            return Some(Finding::new(Topic::Consume, seen, why));
        }
        if delivered >= ENOUGH && most == 1 && prefetch == Some(1) {
            let seen = format!(
                "{service} got {delivered} messages and never held more than 1 unacked: it asked \
                 for a prefetch of 1 (basic.qos)"
            );
            let why = "with a prefetch of 1 each message waits for the ack of the one before it";
            return Some(Finding::new(Topic::Consume, seen, why));
        }
        let published = count(Method::BasicPublish);
        if published < ENOUGH || most_unconfirmed(&own) != 1 {
            return None;
        }
        let seen = format!(
            "{service} published {published} messages and never had more than 1 unconfirmed: \
             it awaits each basic.ack before the next basic.publish"
        );
        let why = "a publisher that awaits each confirm sends one message a round trip: publish \
                   many, then await their confirms";
        Some(Finding::new(Topic::Confirm, seen, why))
    })
}

/// The most unconfirmed publishes that one channel ever had at once; 0 without confirm mode.
fn most_unconfirmed(frames: &[At<'_>]) -> usize {
    let mut channels: HashMap<_, (u64, BTreeSet<u64>)> = HashMap::new();
    let mut most = 0;
    for At { frame, .. } in frames {
        let channel = (frame.connection, frame.channel);
        match (frame.from, frame.method) {
            (_, Method::ChannelOpen) => _ = channels.remove(&channel),
            (Side::Client, Method::ConfirmSelect) => _ = channels.entry(channel).or_default(),
            (Side::Client, Method::BasicPublish) => {
                if let Some((published, open)) = channels.get_mut(&channel) {
                    *published += 1;
                    open.insert(*published);
                    most = most.max(open.len());
                }
            }
            (Side::Server, Method::BasicAck | Method::BasicNack) => {
                if let Some((_, open)) = channels.get_mut(&channel) {
                    open.retain(|tag| !frame.covers(*tag));
                }
            }
            _ => {}
        }
    }
    most
}
