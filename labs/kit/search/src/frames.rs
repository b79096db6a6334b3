//! What crossed for one message, from a run's journal, in lines that two runs can be compared by.

use std::fmt;

use check::wiretap::{CheckEvent, Entry, Event, Frame, HttpLine, Method, Side, journal};
use check::{Change, confirms};

use crate::runner::Finished;

/// The most lines that a story has, and how many of them stand before the fault.
const MOST: usize = 12;
const ABOVE: usize = 5;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    t: f64,
    text: String,
    fault: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6.3} s  {}", self.t, self.text)
    }
}

/// All that a run's journal has of a message, and what was done to services and links; of all
/// messages where there is no mark.
#[must_use]
pub fn of(finished: &Finished, mark: Option<&str>) -> Vec<Line> {
    let Ok(recorded) = journal::read(&finished.trace) else {
        return Vec::new();
    };
    let own = |frame: &Frame| match mark {
        Some(mark) => is_about(frame, mark),
        None => frame.message.is_some(),
    };
    let confirms = confirms(&recorded.entries, own);
    let mut deliveries: Vec<&Frame> = Vec::new();
    let mut lines = Vec::new();
    let mut since_start = false;
    for (place, Entry { t, event }) in recorded.entries.iter().enumerate() {
        let t = *t;
        let text = match event {
            Event::Amqp(frame) => {
                let (own, confirm) = (own(frame), confirms.contains(&place));
                if own && frame.method == Method::BasicDeliver {
                    deliveries.push(frame);
                }
                let settles = deliveries.iter().any(|delivery| frame.settles(delivery));
                (own || confirm || settles).then(|| told(frame, confirm))
            }
            Event::Http {
                service,
                line,
                body,
                ..
            } => mark
                .is_none_or(|mark| body.contains(mark))
                .then(|| http(service, line)),
            // The run is over.
            Event::Service {
                what: Change::Terminated,
                ..
            } => break,
            Event::Service { service, what } => since_start.then(|| format!("{service}: {what}")),
            Event::Link { service, what } => Some(format!("link of {service}: {what}")),
            Event::Check {
                what: CheckEvent::Note(note),
            } => {
                if let Some(fault) = note.strip_prefix("fault: ") {
                    lines.push(Line {
                        t,
                        text: format!("FAULT {fault}"),
                        fault: true,
                    });
                }
                let asked = ["GET ", "POST "].iter().any(|verb| note.starts_with(verb));
                (since_start && asked).then(|| format!("client: {note}"))
            }
            Event::Check {
                what: what @ (CheckEvent::BrokerKilled | CheckEvent::BrokerBack),
            } => Some(what.to_string()),
            _ => None,
        };
        since_start |= text.is_some();
        lines.extend(text.map(|text| Line {
            t,
            text,
            fault: false,
        }));
    }
    lines
}

/// Whether anything in a run's journal has this mark.
#[must_use]
pub fn have(finished: &Finished, mark: &str) -> bool {
    let text = std::fs::read_to_string(&finished.trace);
    text.is_ok_and(|text| text.contains(mark))
}

/// Whether a frame carries the message with this mark.
#[must_use]
pub fn is_about(frame: &Frame, mark: &str) -> bool {
    frame.message.as_ref().is_some_and(|message| {
        let ids = [&message.id, &message.correlation_id];
        ids.iter().any(|id| id.as_deref() == Some(mark)) || message.body.contains(mark)
    })
}

/// A frame as a line; `confirm` says whether it confirms the message.
fn told(frame: &Frame, confirm: bool) -> String {
    let (from, to) = match frame.from {
        Side::Client => (frame.service.as_str(), "broker"),
        Side::Server => ("broker", frame.service.as_str()),
    };
    let more = match frame.flag("redelivered") {
        true => ", redelivered",
        false if confirm => ", the confirm",
        false => "",
    };
    format!("{from} → {to}: {}{more}", frame.method)
}

fn http(service: &str, line: &HttpLine) -> String {
    match line.from() {
        Side::Client => format!("{service} → {line}"),
        Side::Server => format!("{service} ← {line}"),
    }
}

/// The lines around the first fault.
#[must_use]
pub fn decisive(lines: &[Line]) -> Vec<Line> {
    let fault = lines.iter().position(|line| line.fault).unwrap_or(0);
    let from = fault.saturating_sub(ABOVE);
    lines[from..].iter().take(MOST).cloned().collect()
}

/// What each of two runs has more than the other: its first two such lines. The faults themselves do
/// not count, and not the order, which differs between runs that go the same way.
#[must_use]
pub fn parting(mine: &[Line], theirs: &[Line]) -> (String, String) {
    let more = |lines: &[Line], others: &[Line]| {
        let mut others: Vec<_> = others.iter().map(|line| &line.text).collect();
        let more = lines.iter().filter(|line| {
            let alike = others.iter().position(|other| **other == line.text);
            alike.map(|place| others.remove(place)).is_none() && !line.fault
        });
        let more: Vec<_> = more.map(|line| line.text.clone()).take(2).collect();
        match more.is_empty() {
            true => "nothing more".to_owned(),
            false => more.join(", then "),
        }
    };
    (more(mine, theirs), more(theirs, mine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        let line = |text: &&str| Line {
            t: 0.0,
            text: (*text).to_owned(),
            fault: text.starts_with("FAULT"),
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn two_runs_part_by_what_only_one_has_in_whatever_order() {
        let mine = lines(&[
            "deliver",
            "FAULT kill a before ack 1",
            "a: killed",
            "deliver",
        ]);
        let theirs = lines(&["ack", "deliver", "FAULT kill a after ack 1", "a: killed"]);
        let told = ("deliver".to_owned(), "ack".to_owned());
        assert_eq!(parting(&mine, &theirs), told);
        assert_eq!(parting(&mine, &mine).0, "nothing more");
    }

    #[test]
    fn a_story_begins_shortly_before_the_fault() {
        let mut texts = vec!["deliver"; 20];
        texts.push("FAULT kill a before ack 1");
        texts.extend(["a: killed"; 20]);
        let told = decisive(&lines(&texts));
        assert_eq!(told.len(), MOST);
        assert!(told[ABOVE].fault);
    }
}
