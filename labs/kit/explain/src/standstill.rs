//! A consumer that settles nothing any more.

use super::frames::{At, is_unacked};
use super::{Finding, Topic};
use wiretap::{Entry, Method, Side};

/// So long must a service have settled nothing, in seconds: a slow one settles now and then.
const STILL: f64 = 3.0;

/// The finding for an unacked delivery of a service that holds several and has settled none for
/// some time. `to` is the beginning of what is observed.
pub(super) fn standstill(
    entries: &[Entry],
    frames: &[At<'_>],
    delivery: At<'_>,
    to: &str,
) -> Option<Finding> {
    let own = || {
        let of = |at: &&At<'_>| at.frame.service == delivery.frame.service;
        frames.iter().filter(of)
    };
    let settles = |at: &&At<'_>| {
        let settling = [Method::BasicAck, Method::BasicNack, Method::BasicReject];
        at.frame.from == Side::Client && settling.contains(&at.frame.method)
    };
    let last = own().rfind(settles);
    let since = last.map_or(delivery.t, |at| at.t.max(delivery.t));
    if entries.last()?.t - since < STILL {
        return None;
    }
    let held = own().filter(|at| is_unacked(entries, frames, **at)).count();
    if held < 2 {
        return None;
    }
    let settled = match last {
        Some(at) => format!("settled nothing since {:.3} s ({})", at.t, at.frame.method),
        None => "settled nothing at all (no basic.ack)".to_owned(),
    };
    Some(Finding::new(
        Topic::Settle,
        format!(
            "{to} and neither recorded nor acked it; it has {settled}, and holds {held} unacked"
        ),
        "the whole service stands still: it waits for a full batch or a lock, or a blocking call \
         stops its runtime",
    ))
}
