//! What the checks of this chapter work with: the two services, the relay between them, the
//! calls that crossed it ([`calls`]), the tries of one view ([`tries`]), and the history's list
//! ([`history`]).

mod calls;
mod history;
mod tries;

use std::cell::RefCell;
use std::time::Duration;

use check::wiretap::HttpRelay;
use check::{Failure, Lab, Outcome, Response, Seen, Service, Stop, expect, fail};

pub use calls::Call;
pub use history::{History, comma};

/// The time limit of a call in a check that does not wait for a timeout: longer than any call
/// takes, even on a busy machine.
pub const AMPLE: Duration = Duration::from_secs(15);
/// How many calls a view gets at most, as in the task.
pub const TRIES: usize = 4;
/// The type of a body.
pub const JSON: &str = "application/json";
/// The role whose calls the relay writes to the journal.
const VIDEO: &str = "video-streaming";
/// How long a view's tries take at most, with its line in the log, when each fails at once.
pub const SOON: Duration = Duration::from_secs(4);

/// Why the history's list must be complete.
const NO_GAPS: &str = "a history with gaps, or with views that nobody watched, is worth little";

/// `video-streaming`, `history`, and a relay between them.
pub struct FlixTube {
    pub lab: Lab,
    pub video: Service,
    pub history: History,
    pub relay: HttpRelay,
    /// The ids of the films sent so far.
    watched: RefCell<Vec<String>>,
}

impl FlixTube {
    /// Starts both services; a call of the history times out after `timeout`.
    pub async fn open(lab: &Lab, timeout: Duration) -> Outcome<Self> {
        let flixtube = Self::without_history(lab, timeout).await?;
        flixtube.history.service.start().await?;
        Ok(flixtube)
    }

    /// As [`FlixTube::open`], but the history is not started.
    pub async fn without_history(lab: &Lab, timeout: Duration) -> Outcome<Self> {
        let service = lab.service("history").await?;
        let relay = HttpRelay::open(VIDEO, service.port(), lab.journal())?;
        let video = lab.service(VIDEO).await?;
        let video = video
            .with("HISTORY_URL", relay.url())
            .with("HISTORY_TIMEOUT_MS", timeout.as_millis());
        video.start().await?;
        Ok(Self {
            lab: lab.clone(),
            video,
            history: History { service },
            relay,
            watched: RefCell::default(),
        })
    }

    /// Starts another `video-streaming`, which calls a history at `url`.
    pub async fn another_video(
        &self,
        name: &str,
        url: &str,
        timeout: Duration,
    ) -> Outcome<Service> {
        let another = self.lab.instance(name, &[VIDEO]).await?;
        let another = another
            .with("HISTORY_URL", url)
            .with("HISTORY_TIMEOUT_MS", timeout.as_millis());
        another.start().await?;
        Ok(another)
    }

    /// Adds films that were watched without [`FlixTube::watch`].
    pub fn remember(&self, views: Vec<String>) {
        self.watched.borrow_mut().extend(views);
    }

    /// Watches the film, and returns the id of this view.
    pub async fn watch(&self) -> Outcome<String> {
        self.watch_at(&self.video).await
    }

    /// As [`FlixTube::watch`], at this instance of `video-streaming`.
    pub async fn watch_at(&self, video: &Service) -> Outcome<String> {
        let view = watch(video).await?;
        self.remember(vec![view.clone()]);
        Ok(view)
    }

    /// How often the history was called for `view`.
    pub fn calls_for(&self, view: &str) -> usize {
        self.calls().iter().filter(|call| call.view == view).count()
    }

    /// Waits until the history's list has each of the films sent so far once and nothing else.
    pub async fn all_recorded(&self) -> Outcome {
        let watched = self.watched.borrow().clone();
        self.recorded(&watched).await
    }

    /// Waits until the history's list has each of `views` once and nothing else. Fails at once for
    /// a missing view that will not come any more: the history has confirmed as many, or the log
    /// says that the view is lost.
    pub async fn recorded(&self, views: &[String]) -> Outcome {
        let expected = match views {
            [view] => format!("view {view} in the history, once"),
            _ => format!("{} views in the history, each once", views.len()),
        };
        let mut late = None;
        let outcome = self.lab.eventually(&expected, NO_GAPS, async || {
            let all_confirmed = self.views_confirmed() >= views.len();
            let list = self.history.list().await?;
            let seen = format!("{} in it", list.len());
            let listed = |id: &String| list.iter().any(|view| view.id == *id);
            late = views.iter().find(|id| !listed(id));
            let Some(view) = late else {
                return no_other(&expected, seen, list.len() == views.len()).map(Seen::Yes);
            };
            if all_confirmed || !complaints(&self.video, view).is_empty() {
                return Err(self.missing(&expected, &seen, views, view).into());
            }
            Ok(Seen::NotYet(seen))
        });
        match (outcome.await, late) {
            // At the deadline the journal tells what became of the first missing view.
            (Err(Stop::Failed(failure)), Some(view)) if self.lab.all_well().is_ok() => {
                let seen = &failure.observed;
                Err(self.missing(&expected, seen, views, view).into())
            }
            (outcome, _) => outcome,
        }
    }

    /// The failure of a history without `view`, one of `views`: what became of it, and in which
    /// hole.
    fn missing(&self, expected: &str, seen: &str, views: &[String], view: &str) -> Failure {
        let calls = self.calls();
        if let Some(failure) = under_another_id(&calls, views) {
            return failure;
        }
        let hole = match calls.iter().rfind(|call| call.view == view) {
            Some(call) if call.confirmed() => 1,
            Some(_) => 2,
            None if calls.is_empty() => 2,
            // Other views are told, so a call can be made.
            None => 3,
        };
        let mut seen = seen.to_owned();
        if let Some(line) = complaints(&self.video, view).first() {
            seen = format!("{seen}; the log says: {line}");
        }
        self.lab.missing(expected, &seen, view).hole(hole)
    }
}

/// The failure of the first call under an id that is not one of `views`.
pub fn under_another_id(calls: &[Call], views: &[String]) -> Option<Failure> {
    let at = calls.iter().position(|call| !views.contains(&call.view))?;
    let stray = match &*calls[at].view {
        "" => "a call without a viewId".to_owned(),
        id => format!("a call under another id: {id}"),
    };
    // A first call with the right id went before a retry.
    let told = calls[..at]
        .iter()
        .any(|call| Some(&call.view) == views.last());
    let expected = "each call carries the id that the viewer got in the header view-id";
    let failure = fail(expected, stray);
    let failure = failure.because("under a new id the history takes the same view for another one");
    Some(failure.hole(if told { 5 } else { 2 }))
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

/// All views are in the history's list; it must hold no other.
fn no_other(expected: &str, seen: String, only_these: bool) -> Outcome {
    expect(only_these)
        .or(expected, seen)
        .hole(1)
        .because(NO_GAPS)
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

/// The lines at level error in which `video` names `view`.
pub fn complaints(video: &Service, view: &str) -> Vec<String> {
    // `[2026-11-26T07:13:00Z ERROR lab_01::tell] …`
    let is_error = |line: &&str| line.split_whitespace().nth(1) == Some("ERROR");
    let output = video.output();
    let lines = output.lines().filter(is_error);
    lines
        .filter(|line| line.contains(view))
        .map(str::to_owned)
        .collect()
}

/// The hole of the file that logged `line`: HOLE 5 of `tell.rs`, else HOLE 3.
pub fn hole_of(line: &str) -> u32 {
    let module = line.split_whitespace().nth(2).unwrap_or_default();
    if module.ends_with("::tell]") { 5 } else { 3 }
}
