//! What the checks of this chapter speak of: the two services, the relay between them, the
//! calls that crossed it, and the history's list.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::{ConnectionEvent, Event, HttpLine, HttpRelay, Loss, Side};
use check::{Failure, Lab, Outcome, Response, Seen, Service, Stop, expect, fail};
use serde_json::Value;

/// The role whose calls the relay journals.
const VIDEO: &str = "video-streaming";
/// The whole list: a check makes far fewer views than that.
const LIST: &str = "/history?skip=0&limit=1000";

/// `video-streaming`, and a relay on its way to `history`.
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
    /// The answer's first line, without the protocol: `200 OK`.
    pub answer: Option<HttpLine>,
    /// When the caller hung up before it had the answer.
    pub given_up: Option<f64>,
    connection: u32,
}

impl FlixTube {
    /// Both services, started; a call of the history may take as long as `timeout`.
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

    /// Watches the film, and gives the id of this view.
    pub async fn watch(&self) -> Outcome<String> {
        watch(&self.video).await
    }

    /// The calls of the history so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lab.journal().read(|entries| {
            let mut calls: Vec<Call> = Vec::new();
            for entry in entries {
                match &entry.event {
                    Event::Http {
                        service,
                        connection,
                        line,
                        body,
                    } if service == VIDEO => match line.from() {
                        Side::Client => calls.push(Call {
                            at: entry.t,
                            view: view_id(body),
                            connection: *connection,
                            ..Call::default()
                        }),
                        Side::Server => {
                            if let Some(call) = last(&mut calls, *connection) {
                                call.answer = Some(line.clone());
                            }
                        }
                    },
                    Event::Connection {
                        service,
                        connection,
                        what: ConnectionEvent::Lost(Loss::HungUp),
                    } if service == VIDEO => {
                        if let Some(call) = last(&mut calls, *connection) {
                            call.given_up = Some(entry.t);
                        }
                    }
                    _ => {}
                }
            }
            calls
        })
    }

    /// How many views, by their ids, the history has confirmed.
    fn views_told(&self) -> usize {
        let taken = self.calls().into_iter().filter(Call::taken);
        taken.map(|call| call.view).collect::<BTreeSet<_>>().len()
    }

    /// Waits until `views` are in the history's list, each once and nothing else. When it has
    /// confirmed as many, what is missing then will not come any more.
    pub async fn recorded(&self, views: &[String]) -> Outcome {
        let expected = match views {
            [view] => format!("view {view} in the history, once"),
            _ => format!("{} views in the history, each once", views.len()),
        };
        let why = "a list with gaps, or with what was never watched, is worth little";
        let mut lost = None;
        let outcome = self.lab.eventually(&expected, why, async || {
            lost = None;
            let told = self.views_told();
            let list = self.history.list().await?;
            let missing = views
                .iter()
                .find(|view| list.iter().all(|seen| seen.id != **view));
            let seen = format!("{} in it", list.len());
            match missing {
                Some(view) if told >= views.len() => {
                    Err(self.lab.missing(&expected, &seen, view).into())
                }
                Some(view) => {
                    lost = Some(view.clone());
                    Ok(Seen::NotYet(seen))
                }
                None => {
                    let failure = fail(&expected, seen).because(why).hole(2);
                    failure.unless(list.len() == views.len())?;
                    Ok(Seen::Yes(()))
                }
            }
        });
        match (outcome.await, lost) {
            // Too late: the journal tells what became of the first one that is missing.
            (Err(Stop::Failed(late)), Some(view)) if self.lab.all_well().is_ok() => {
                Err(self.lab.missing(&expected, &late.observed, &view).into())
            }
            (outcome, _) => outcome,
        }
    }

    /// Waits until the history was called `count` times for `view`. Fails at once when the log
    /// says that the view was given up before.
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
    pub fn taken(&self) -> bool {
        self.answer.as_ref().is_some_and(HttpLine::is_success)
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

/// Watches the film of `video`, and gives the id of this view.
pub async fn watch(video: &Service) -> Outcome<String> {
    let answer = video.get("/video").await?;
    whole(&answer).unless(answer.status == 200 && answer.body == common::video::MP4)?;
    answer.view_id.ok_or_else(|| {
        fail("the header view-id beside the film", "no such header")
            .because("under this id the viewer finds their view in the history")
            .into()
    })
}

fn whole(answer: &Response) -> Failure {
    let size = common::video::MP4.len();
    let observed = match answer.status {
        200 => format!("200 OK and {} bytes of it", answer.body.len()),
        _ => answer.summary(),
    };
    fail(format!("200 OK and the whole film, {size} bytes"), observed)
        .because("viewers came for the film; what the history does is not their concern")
        .hole(3)
}

/// The lines at level warn or error in which `video` says something of `view`.
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
    /// Started, with an empty database.
    pub async fn open(lab: &Lab) -> Outcome<Self> {
        Self::start(lab.service("history").await?).await
    }

    /// The same, with a service that has its settings already.
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

    /// Tells of a view as a client of our own would.
    pub async fn told(&self, body: &Value) -> Outcome {
        let answer = self.service.post("/viewed", body).await?;
        expect(answer.ok())
            .or(
                format!("200 OK for POST /viewed with {body}"),
                answer.summary(),
            )
            .hole(2)
            .because("it is a view as good as any; an older service sends no viewId")
    }
}
