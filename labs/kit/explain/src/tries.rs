//! How often a service tried to connect.

use wiretap::{ConnectionEvent, Entry, Event, Journal, Method};

use super::frames::{At, frames, refuses, word};

/// So many pauses are listed; more say nothing new.
const LISTED: usize = 8;

/// How often the service tried to connect and with which pauses, how many of the attempts were
/// turned away, and for how long it has not tried again: for a service that gave up, or did not
/// when it should have. The journal does not see an attempt that a closed port refuses.
#[must_use]
pub fn tries(journal: &Journal, service: &str) -> String {
    journal.read(|entries| told(entries, service))
}

pub(super) fn told(entries: &[Entry], service: &str) -> String {
    let attempts = attempts(entries, service);
    let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else {
        return format!("{service} did not try to connect");
    };
    let times = match attempts.len() {
        1 => format!("once, at {:.3} s", first.0),
        n => {
            let gaps: Vec<_> = attempts.windows(2).map(|two| two[1].0 - two[0].0).collect();
            format!("{n} times, with pauses of {}", listed(&gaps))
        }
    };
    let turned = match attempts.iter().filter(|(_, let_in)| !let_in).count() {
        0 => String::new(),
        n => format!(" ({n} turned away)"),
    };
    let refused = refused(entries, service);
    let idle = entries.last().map_or(0.0, |entry| entry.t - last.0);
    format!(
        "{service} tried to connect {times}{turned}{refused}; not again in the last {idle:.1} s"
    )
}

/// When the service tried to connect, and whether the link let it in.
pub(super) fn attempts(entries: &[Entry], service: &str) -> Vec<(f64, bool)> {
    let own = entries.iter().filter_map(|entry| match &entry.event {
        Event::Connection {
            service: own, what, ..
        } if own == service && what.is_attempt() => {
            Some((entry.t, *what == ConnectionEvent::Opened))
        }
        _ => None,
    });
    own.collect()
}

fn listed(pauses: &[f64]) -> String {
    let shown: Vec<_> = pauses
        .iter()
        .take(LISTED)
        .map(|gap| format!("{gap:.2}"))
        .collect();
    let more = if pauses.len() > LISTED {
        " … s"
    } else {
        " s"
    };
    shown.join(", ") + more
}

/// How often and why the broker closed a connection of the service.
fn refused(entries: &[Entry], service: &str) -> String {
    let frames = frames(entries);
    let closes = |at: &&At<'_>| refuses(at, service) && at.frame.method == Method::ConnectionClose;
    let closed: Vec<_> = frames.iter().filter(closes).collect();
    closed.last().map_or_else(String::new, |at| {
        let text = word(at.frame, "reply_text");
        let count = closed.len();
        format!("; the broker closed {count} of them (connection.close: {text})")
    })
}
