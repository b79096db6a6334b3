//! The calls for one view: how many are made, and when the view is given up.

use std::time::Duration;

use check::wiretap::{Answer, ConnectionEvent, Entry, Event, HttpRelay, Side};
use check::{Failure, Outcome, Seen, Span, Stop, fail};

use super::{Call, FlixTube, SOON, complaints, hole_of, under_another_id, watch};

/// After a line of level error for a view, no call for it comes later than this.
const LAST_TRY: Duration = Duration::from_millis(1200);

impl FlixTube {
    /// When a connection was turned away by the relay, in seconds of the run.
    pub fn turned_away(&self) -> Vec<f64> {
        self.lab.journal().read(|entries| {
            let turned_away = entries.iter().filter(|entry| {
                matches!(
                    &entry.event,
                    Event::Connection {
                        what: ConnectionEvent::TurnedAway,
                        ..
                    }
                )
            });
            turned_away.map(|entry| entry.t).collect()
        })
    }

    /// A relay in front of the history for the calls of another `video-streaming`, called `name`.
    pub fn another_history(&self, name: &str) -> Outcome<HttpRelay> {
        let port = self.history.service.port();
        Ok(HttpRelay::open(name, port, self.lab.journal())?)
    }

    /// How many requests the relay of `name` has seen.
    pub fn requests(&self, name: &str) -> usize {
        let sent = |entry: &&Entry| {
            matches!(&entry.event, Event::Http { service, line, .. }
                if service == name && line.from() == Side::Client)
        };
        let journal = self.lab.journal();
        journal.read(|entries| entries.iter().filter(sent).count())
    }

    /// Waits until the history was called `count` times for `view`, and returns these calls. If it
    /// is not, `hole` is at fault; of HOLE 5 and HOLE 6 the right one, as in [`FlixTube::sorted`].
    pub async fn called(
        &self,
        view: &str,
        count: usize,
        hole: u32,
        why: &str,
    ) -> Outcome<Vec<Call>> {
        let expected = format!("{count} call(s) of the history for view {view}");
        let mut lost: Option<(Span, usize)> = None;
        let look = async || {
            // In this order: the calls read are then all those before the line.
            let complains = !complaints(&self.video, view).is_empty();
            let calls = self.calls_under(view)?;
            if lost.is_none() && complains {
                lost = Some((self.lab.span(), calls.len()));
            }
            Ok(enough(calls, count, hole, lost.as_ref()))
        };
        let calls = self.lab.eventually_within(SOON, &expected, why, look);
        let calls = calls.await?;
        let lines = complaints(&self.video, view);
        match (lost, lines.first()) {
            (Some((_, before)), Some(line)) if calls.len() > before => Err(too_early(line).into()),
            (Some(_), Some(line)) if calls.len() < count => {
                let instead = format!("{}, then the log says: {line}", times(&calls));
                let given_up = fail(expected, instead).because(why).hole(hole);
                self.sorted(Err(given_up.into())).await
            }
            _ => Ok(calls),
        }
    }

    /// The calls for `view` so far.
    ///
    /// # Errors
    /// A failure when one of all calls has an id that no viewer got.
    pub fn calls_under(&self, view: &str) -> Outcome<Vec<Call>> {
        let calls = self.calls();
        match under_another_id(&calls, &self.watched.borrow()) {
            Some(failure) => Err(failure.into()),
            None => Ok(calls.into_iter().filter(|call| call.view == view).collect()),
        }
    }

    /// An outcome of calls that fails in HOLE 5 fails in HOLE 6 if an answer of 503 is retried as it
    /// should be: then it is the kind of failure that was not retried.
    pub async fn sorted<T>(&self, calls: Outcome<T>) -> Outcome<T> {
        match calls {
            Err(Stop::Failed(failure)) if failure.hole == Some(5) && self.retries_503().await? => {
                Err(failure.hole(6).into())
            }
            calls => calls,
        }
    }

    /// Whether a view whose first three calls are answered with 503 gets a fourth.
    async fn retries_503(&self) -> Outcome<bool> {
        const NAME: &str = "another";
        let relay = self.another_history(NAME)?;
        relay.next([Answer::Status(503); 3]);
        let video = self.another_video(NAME, &relay.url(), SOON).await?;
        let view = watch(&video).await?;
        let calls = || self.requests(NAME);
        let retried = self
            .lab
            .eventually_within(SOON, "four calls", "", async || {
                let lost = !complaints(&video, &view).is_empty();
                Ok(Seen::when(calls() == 4 || lost, String::new))
            });
        Ok(retried.await.is_ok() && calls() == 4)
    }
}

/// How often the history was called, and with what answer at last.
fn times(calls: &[Call]) -> String {
    let answer = match calls.last() {
        Some(call) => format!(", {call}"),
        None => String::new(),
    };
    let count = calls.len();
    format!("the history was called {count} time(s){answer}")
}

/// The failure of a line of level error for a view that was told again afterwards.
fn too_early(line: &str) -> Failure {
    fail(
        "one line of level error, when the last try has failed",
        format!("a further call after this line: {line}"),
    )
    .because("an operator counts lost views in the log, not tries")
    .hole(hole_of(line))
}

/// Whether these are `count` calls, or no more will come; if not, this hole is at fault. `lost` is
/// since when the log says that the view is lost, and how many calls were made before.
fn enough(
    calls: Vec<Call>,
    count: usize,
    hole: u32,
    lost: Option<&(Span, usize)>,
) -> Seen<Vec<Call>> {
    let over = lost.is_some_and(|(since, before)| calls.len() > *before || since.exceeds(LAST_TRY));
    match calls.last() {
        _ if over || calls.len() >= count => Seen::Yes(calls),
        // It was taken for success: who looks at the status?
        Some(call) if lost.is_none() && call.failed() => {
            Seen::NotYetFor(2, format!("{}, and nothing more", times(&calls)))
        }
        _ => Seen::NotYetFor(hole, times(&calls)),
    }
}
