//! Finds the message that a program which does not end sends for ever.

use std::collections::BTreeMap;

use super::frames::frames;
use super::{confirms, short};
use wiretap::{Entry, Frame, Method};

/// A message whose confirm is lost is sent again; so often, it is not the network.
const OFTEN: usize = 5;

/// Which message `service` sends again and again, and how often the broker confirmed it, as a clause; or nothing.
#[must_use]
pub fn sent_again(entries: &[Entry], service: &str) -> Option<String> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let frames = frames(entries).into_iter().map(|at| at.frame);
    let own = |frame: &&Frame| frame.method == Method::BasicPublish && frame.service == service;
    for id in frames.filter(own).filter_map(Frame::message_id) {
        *times.entry(id).or_default() += 1;
    }
    // An empty id is none.
    times.remove("");
    let (id, count) = times.into_iter().max_by_key(|(_, count)| *count)?;
    let this = |frame: &Frame| frame.service == service && frame.message_id() == Some(id);
    (count > OFTEN).then(|| {
        format!(
            "it has sent message {} {count} times (basic.publish), and the broker confirmed it {} \
             times (basic.ack)",
            short(id),
            confirms(entries, this).len()
        )
    })
}
