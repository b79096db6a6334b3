//! What the checks of this chapter work with: the two services, the relay between them, the
//! calls that crossed it, and the history's list.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::{ConnectionEvent, Entry, Event, HttpLine, HttpRelay, Loss, Side};
use check::{Failure, Lab, Outcome, Response, Seen, Service, Stop, expect, fail};
use serde_json::Value;

/// The role whose calls the relay writes to the journal.
const VIDEO: &str = "video-streaming";
/// The whole list: a check makes far fewer views.
const LIST: &str = "/history?skip=0&limit=1000";

/// `video-streaming`, `history`, and a relay between them.
pub struct FlixTube {
    pub lab: Lab,
    pub video: Service,
    pub history: History,
    pub relay: HttpRelay,
}

/// One call of the history, as the relay saw it.
#[derive(Debug, Default)]
pub struct Call {
    /// When the request was complete, in seconds of the run.
    pub at: f64,
    /// The `viewId` in its body.
    pub view: String,
    /// The answer's first line without the protocol, as `200 OK`.
    pub answer: Option<HttpLine>,
    /// When the caller hung up without an answer.
    pub given_up: Option<f64>,
    connection: u32,
}

impl FlixTube {
    /// Starts both services; a call of the history times out after `timeout`.
    pub async fn open(lab: &Lab, timeout: Duration) -> Outcome<Self> {
        let history = History::open(lab).await?;
        let relay = HttpRelay::open(VIDEO, history.service.port(), lab.journal()).await?;
        let video = lab
            .service(VIDEO)
            .await?
            .with("HISTORY_URL", relay.url())
            .with("HISTORY_TIMEOUT_MS", timeout.as_millis());
        video.start().await?;
        Ok(Self {
            lab: lab.clone(),
            video,
            history,
            relay,
        })
    }

    /// Watches the film, and returns the id of this view.
    pub async fn watch(&self) -> Outcome<String> {
        watch(&self.video).await
    }

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

    /// How often the history was called for `view`.
    pub fn calls_for(&self, view: &str) -> usize {
        self.calls().iter().filter(|call| call.view == view).count()
    }

    /// How many views, by their ids, the history has confirmed.
    fn views_confirmed(&self) -> usize {
        let confirmed = self.calls().into_iter().filter(Call::confirmed);
        let views: BTreeSet<_> = confirmed.map(|call| call.view).collect();
        views.len()
    }

    /// Waits until the history's list has each of `views` once and nothing else. A view that is
    /// missing once the history has confirmed as many will not come any more.
    pub async fn recorded(&self, views: &[String]) -> Outcome {
        let expected = match views {
            [view] => format!("view {view} in the history, once"),
            _ => format!("{} views in the history, each once", views.len()),
        };
        let why = "a history with gaps, or with views that nobody watched, is worth little";
        let mut late = None;
        let outcome = self.lab.eventually(&expected, why, async || {
            let confirmed = self.views_confirmed() >= views.len();
            let list = self.history.list().await?;
            let missing = views
                .iter()
                .find(|id| list.iter().all(|view| view.id != **id));
            let seen = format!("{} in it", list.len());
            late = missing.filter(|_| !confirmed);
            match missing {
                Some(view) if confirmed => Err(self.lab.missing(&expected, &seen, view).into()),
                Some(_) => Ok(Seen::NotYet(seen)),
                None => expect(list.len() == views.len())
                    .or(&expected, seen)
                    .hole(1)
                    .because(why)
                    .map(Seen::Yes),
            }
        });
        match (outcome.await, late) {
            // At the deadline the journal tells what became of the first missing view.
            (Err(Stop::Failed(failure)), Some(view)) if self.lab.all_well().is_ok() => {
                Err(self.lab.missing(&expected, &failure.observed, view).into())
            }
            (outcome, _) => outcome,
        }
    }

    /// Waits until the history was called `count` times for `view`. Fails at once when the log
    /// says that `video-streaming` has given the view up.
    pub async fn called(&self, view: &str, count: usize, why: &str) -> Outcome<Vec<Call>> {
        let expected = format!("{count} calls of the history for the one view");
        self.lab
            .eventually(&expected, why, async || {
                let calls = self.calls();
                let instead = format!("the history was called {} time(s)", calls.len());
                if calls.len() >= count {
                    return Ok(Seen::Yes(calls));
                }
                if let Some(line) = complaints(&self.video, view).first() {
                    let observed = format!("{instead}, then the log says: {line}");
                    return Err(fail(&expected, observed).because(why).into());
                }
                Ok(Seen::NotYet(instead))
            })
            .await
    }
}

impl Call {
    /// Whether the history answered with success.
    fn confirmed(&self) -> bool {
        self.answer.as_ref().is_some_and(HttpLine::is_success)
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
    body["viewId"].as_str().unwrap_or("none").to_owned()
}

/// Watches the film of `video`, and returns the id of this view.
pub async fn watch(video: &Service) -> Outcome<String> {
    let answer = video.get("/video").await?;
    whole(&answer).unless(answer.status == 200 && answer.body == common::video::MP4)?;
    answer.header("view-id").map(str::to_owned).ok_or_else(|| {
        fail("the header view-id beside the film", "no such header")
            .because("by this id the viewer finds their view in the history")
            .into()
    })
}

fn whole(answer: &Response) -> Failure {
    let size = common::video::MP4.len();
    let observed = match answer.status {
        200 => format!("200 OK and {} bytes", answer.body.len()),
        _ => answer.summary(),
    };
    fail(format!("200 OK and the whole film, {size} bytes"), observed)
        .because("the viewer came for the film, not for the history")
        .hole(3)
}

/// The lines at level warn or error in which `video` names `view`.
pub fn complaints(video: &Service, view: &str) -> Vec<String> {
    let bad = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    let output = video.output();
    let lines = output.lines().filter(bad);
    lines
        .filter(|line| line.contains(view))
        .map(str::to_owned)
        .collect()
}

/// The service `history`.
pub struct History {
    pub service: Service,
}

/// A view in the history's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub path: String,
    pub id: String,
}

impl History {
    /// Starts it with an empty database.
    pub async fn open(lab: &Lab) -> Outcome<Self> {
        Self::start(lab.service("history").await?).await
    }

    /// Starts a service that has its settings already.
    pub async fn start(service: Service) -> Outcome<Self> {
        service.start().await?;
        Ok(Self { service })
    }

    /// Everything in the list.
    pub async fn list(&self) -> Outcome<Vec<View>> {
        let answer = self.service.get(LIST).await?;
        let json = answer.json();
        let views = json["history"].as_array().ok_or_else(|| {
            fail(r#"{"history": […]} from GET /history"#, answer.summary())
                .because("the list is what the service is for")
        })?;
        let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        let view = |row: &Value| View {
            path: text(&row["videoPath"]),
            id: text(&row["viewId"]),
        };
        Ok(views.iter().map(view).collect())
    }

    /// The films in the list.
    pub async fn paths(&self) -> Outcome<Vec<String>> {
        let list = self.list().await?;
        Ok(list.into_iter().map(|view| view.path).collect())
    }

    /// Posts a view as a client would, and expects 200.
    pub async fn record(&self, body: &Value) -> Outcome {
        let answer = self.service.post("/viewed", body).await?;
        expect(answer.ok())
            .or(
                format!("200 OK for POST /viewed with {body}"),
                answer.summary(),
            )
            .hole(1)
            .because("it is a valid view; an older service sends no viewId")
    }
}
