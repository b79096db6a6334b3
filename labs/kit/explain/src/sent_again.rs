//! Finds the message that a program which does not end sends for ever.

use std::collections::BTreeMap;

use super::frames::frames;
use super::{confirms, short};
use wiretap::{Entry, Frame, Method};

/// A message whose confirm is lost is sent again; so often, it is not the network.
const OFTEN: usize = 5;

/// Which message `service` sends again and again, and how often the broker confirmed it, as the end of a
/// sentence; or nothing.
#[must_use]
pub fn sent_again(entries: &[Entry], service: &str) -> Option<String> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for at in frames(entries) {
        if at.frame.method == Method::BasicPublish && at.frame.service == service {
            let id = at.frame.message_id();
            *times.entry(id.unwrap_or_default()).or_default() += 1;
        }
    }
    times.remove("");
    let (id, count) = times.into_iter().max_by_key(|(_, count)| *count)?;
    let own = |frame: &Frame| frame.service == service && frame.message_id() == Some(id);
    (count > OFTEN).then(|| {
        format!(
            ", and has sent message {} {count} times (basic.publish); the broker confirmed it {} \
             times (basic.ack)",
            short(id),
            confirms(entries, own).len()
        )
    })
}
