//! The calls of the history, as the relay saw them.

use std::collections::BTreeSet;
use std::fmt;

use check::wiretap::{ConnectionEvent, Entry, Event, HttpLine, Loss, Side};
use serde_json::Value;

use super::{FlixTube, VIDEO};

/// One call of the history.
#[derive(Debug, Default)]
pub struct Call {
    /// When the request was complete, in seconds of the run.
    pub at: f64,
    /// The `viewId` in its body; empty without one.
    pub view: String,
    /// The answer's first line without the protocol, as `200 OK`.
    pub answer: Option<HttpLine>,
    /// When the caller hung up without an answer.
    pub given_up: Option<f64>,
    /// Counts the caller's connections from 1.
    pub connection: u32,
}

impl FlixTube {
    /// The calls of the history so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lab.journal().read(|entries| {
            let mut calls = Vec::new();
            for entry in entries {
                add(&mut calls, entry);
            }
            calls
        })
    }

    /// How many views, by their ids, the history has confirmed.
    pub(super) fn views_confirmed(&self) -> usize {
        let confirmed = self.calls().into_iter().filter(Call::confirmed);
        let views: BTreeSet<_> = confirmed.map(|call| call.view).collect();
        views.len()
    }
}

impl Call {
    /// Whether the history answered with success.
    pub fn confirmed(&self) -> bool {
        self.answer.as_ref().is_some_and(HttpLine::is_success)
    }

    /// Whether it was answered, but not with success.
    pub fn failed(&self) -> bool {
        self.answer.is_some() && !self.confirmed()
    }
}

/// How it ended.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.answer, self.given_up) {
            (Some(answer), _) => write!(f, "answered with {answer}"),
            (None, Some(_)) => f.write_str("the last call given up without an answer"),
            (None, None) => f.write_str("the last call not answered"),
        }
    }
}

/// Adds to `calls` what `entry` tells: a request, its answer, or a caller that hung up.
fn add(calls: &mut Vec<Call>, entry: &Entry) {
    match &entry.event {
        Event::Http {
            service,
            connection,
            line,
            body,
        } if service == VIDEO => match (line.from(), last(calls, *connection)) {
            (Side::Client, _) => calls.push(Call {
                at: entry.t,
                view: view_id(body),
                connection: *connection,
                ..Call::default()
            }),
            (Side::Server, Some(call)) => call.answer = Some(line.clone()),
            (Side::Server, None) => {}
        },
        Event::Connection {
            service,
            connection,
            what: ConnectionEvent::Lost(Loss::HungUp),
        } if service == VIDEO => {
            if let Some(call) = last(calls, *connection) {
                call.given_up = Some(entry.t);
            }
        }
        _ => {}
    }
}

/// The last call on a connection.
fn last(calls: &mut [Call], connection: u32) -> Option<&mut Call> {
    calls.iter_mut().rfind(|call| call.connection == connection)
}

fn view_id(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["viewId"].as_str().unwrap_or_default().to_owned()
}
