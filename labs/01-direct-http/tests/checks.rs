//! The checks of chapter 01: a watched film reaches the history, whatever fails on the way.

mod flixtube;

use std::time::Duration;

use actix_web::http::Method;
use check::check;
use check::wiretap::Answer;
use check::{Checks, Lab, Outcome, Seen, Service, expect, fail};
use flixtube::{Call, FlixTube, History, complaints, watch};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The time limit of a call in a check that does not wait for a timeout: longer than any call
/// takes, even on a busy machine.
const AMPLE: Duration = Duration::from_secs(15);
/// How long a view's tries take at most, with its line in the log, when each fails at once.
const SOON: Duration = Duration::from_secs(4);
const JSON: &str = "application/json";

check::main!(Checks {
    broker: false,
    hole_for: |_| 1,
    all: vec![
        check!(told_twice, HOLE 1, "a view told twice is in the history once"),
        check!(bad_input, HOLE 1, "a bad request is refused and records nothing"),
        check!(killed_after_200, HOLE 1, "a view answered with 200 survives a kill -9"),
        check!(recorded, HOLE 2, "a watched film reaches the history"),
        check!(hundred_viewers, HOLE 2, "a hundred viewers at once leave a hundred views"),
        check!(history_down, HOLE 3, "the film plays without the history; one error is logged"),
        check!(stopped, HOLE 3, "on SIGTERM the service finishes the calls in flight"),
        check!(history_frozen, HOLE 4, "a frozen history delays no film, and the call times out"),
        check!(history_500, HOLE 5, "a call answered with 5xx is retried, and recorded once"),
        check!(response_lost, HOLE 5, "a call without an answer is retried, and recorded once"),
        check!(history_400, HOLE 6, "a call answered with 4xx is not retried, except 429"),
    ],
});

async fn told_twice(lab: Lab) -> Outcome {
    let history = History::open(&lab).await?;
    let view = view("./twice.mp4");
    history.record(&view).await?;
    history.record(&view).await?;
    let list = history.list().await?;
    let ids: Vec<_> = list.iter().map(|view| &*view.id).collect();
    expect(ids == [view["viewId"].as_str().unwrap_or("none")])
        .or(
            format!(
                "one view in the history, {}: posted twice under its id",
                view["viewId"]
            ),
            format!("{ids:?}"),
        )
        .because("a caller whose 200 was lost posts the same view again")
}

async fn recorded(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let view = flixtube.watch().await?;
    flixtube.recorded(&[view]).await?;

    // An older service sends no id, so each of its calls is a view of its own.
    let path = format!("./videos/ünï \"{:x}\".mp4", lab.random(rand::Rng::next_u32));
    for _ in 0..2 {
        flixtube
            .history
            .record(&json!({ "videoPath": path }))
            .await?;
    }
    let paths = flixtube.history.paths().await?;
    expect(paths == [common::video::PATH, &path, &path])
        .or(
            format!("the film, then {path} two times: posted two times without viewId"),
            format!("{paths:?}"),
        )
        .because("an older service sends no viewId, and its views count too")
}

async fn bad_input(lab: Lab) -> Outcome {
    let history = History::open(&lab).await?;
    history.record(&view("./before.mp4")).await?;

    for (what, body) in bad_bodies(&lab) {
        refused(&history, what, Method::POST, "/viewed", JSON, body).await?;
    }
    let good = r#"{"videoPath": "./a.mp4"}"#;
    for (what, method, path, kind, body) in [
        ("text/plain", Method::POST, "/viewed", "text/plain", good),
        ("a view as its body", Method::PUT, "/viewed", JSON, good),
        ("a negative skip", Method::GET, "/history?skip=-1", JSON, ""),
        ("a limit of 0", Method::GET, "/history?limit=0", JSON, ""),
    ] {
        refused(&history, what, method, path, kind, body.into()).await?;
    }

    history.record(&view("./after.mp4")).await?;
    let paths = history.paths().await?;
    expect(paths == ["./before.mp4", "./after.mp4"])
        .or("the two good views in the history", format!("{paths:?}"))
        .because("a refused request must leave no trace")
}

/// A view under a new id.
fn view(path: &str) -> Value {
    json!({ "videoPath": path, "viewId": Uuid::new_v4() })
}

/// Bodies that are not a view, each with what is wrong with it.
fn bad_bodies(lab: &Lab) -> Vec<(&'static str, Vec<u8>)> {
    let huge = json!({ "videoPath": "x".repeat(100_000) }).to_string();
    let garbage: [u8; 40] = lab.random(rand::RngExt::random);
    let no_uuid = r#"{"videoPath": "./a.mp4", "viewId": "7"}"#;
    vec![
        ("no body", vec![]),
        ("half of a JSON object", r#"{"videoPath": "./a"#.into()),
        ("bytes that are not text", garbage.into()),
        ("no videoPath", "{}".into()),
        ("another field", r#"{"path": "./a.mp4"}"#.into()),
        ("a number as videoPath", r#"{"videoPath": 7}"#.into()),
        ("null as videoPath", r#"{"videoPath": null}"#.into()),
        ("an empty videoPath", r#"{"videoPath": ""}"#.into()),
        ("a viewId that is not a UUID", no_uuid.into()),
        ("a huge body", huge.into()),
    ]
}

/// Sends a request that is wrong because of `what`.
async fn refused(
    history: &History,
    what: &str,
    method: Method,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> Outcome {
    let expected = format!("4xx for {method} {path} with {what}");
    let answer = history.service.send(method, path, kind, body).await?;
    expect((400..500).contains(&answer.status))
        .or(expected, answer.summary())
        .because("4xx tells the caller that the request itself is wrong")
}

async fn hundred_viewers(lab: Lab) -> Outcome {
    const VIEWERS: usize = 100;
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let mut viewers = JoinSet::new();
    for _ in 0..VIEWERS {
        let video = flixtube.video.clone();
        viewers.spawn_local(async move { watch(&video).await });
    }
    let watched: Outcome<Vec<_>> = viewers.join_all().await.into_iter().collect();
    flixtube.recorded(&watched?).await
}

async fn killed_after_200(lab: Lab) -> Outcome {
    let history = lab.service("history").await?;
    let history = History::start(history.with("DATABASE_TIMEOUT_MS", 100)).await?;
    let path = format!("./videos/{:x}.mp4", lab.random(rand::Rng::next_u32));
    let view = view(&path);
    fails_while_locked(&history, &view).await?;

    history.record(&view).await?;
    history.service.kill().await?;
    history.service.start().await?;
    let paths = history.paths().await?;
    expect(paths.contains(&path))
        .or(
            format!("{path} in the history after kill -9 and restart"),
            format!("{paths:?}"),
        )
        .because("a 200 is a promise: the caller now forgets the view")
}

/// Posts the view while the history cannot write.
async fn fails_while_locked(history: &History, view: &Value) -> Outcome {
    let locked = history.service.lock_database()?;
    let answer = history.service.post("/viewed", view).await?;
    drop(locked);
    expect(answer.status >= 500)
        .or(
            "an error while the database is locked: the view cannot be committed",
            format!("{} while it was locked", answer.summary()),
        )
        .because("a 200 is a promise: the caller now forgets the view")
}

async fn history_down(lab: Lab) -> Outcome {
    let history = lab.service("history").await?; // never started
    let video = lab.service("video-streaming").await?;
    let video = video.with("HISTORY_URL", history.url(""));
    video.start().await?;
    let views = [watch(&video).await?, watch(&video).await?];
    let why = "a failure that nobody sees lasts for months";
    for view in &views {
        let expected = format!("a line of level error with view {view}");
        complains(&lab, &video, view, &expected, why).await?;
    }
    // A stopped service has logged everything.
    video.stop().await?;
    for view in &views {
        logged_once(&video, view, &history.url(""))?;
    }
    Ok(())
}

/// Waits until `video` logs the failure of `view`.
async fn complains(lab: &Lab, video: &Service, view: &str, expected: &str, why: &str) -> Outcome {
    lab.eventually_within(SOON, expected, why, async || {
        let said = !complaints(video, view).is_empty();
        Ok(Seen::when(said, || {
            "no line of level error with it".to_owned()
        }))
    })
    .await
}

/// The one complaint about `view` names the `url` of the history.
fn logged_once(video: &Service, view: &str, url: &str) -> Outcome {
    let lines = complaints(video, view);
    expect(lines.len() == 1)
        .or(
            format!("one line of level error for view {view}"),
            format!("{} lines of level error: {}", lines.len(), lines[0]),
        )
        .because("an operator counts lost views in the log, not tries")?;
    expect(lines[0].contains(url))
        .or(format!("the URL {url} in the log's line"), &lines[0])
        .because("an operator must see in the log which address fails")
}

async fn stopped(lab: Lab) -> Outcome {
    const HELD_BACK: Duration = Duration::from_millis(600);
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Late(HELD_BACK); 5]);
    let mut views = Vec::new();
    for _ in 0..5 {
        views.push(flixtube.watch().await?);
    }
    let why = "the history must hear of each view";
    flixtube.called(&views[0], views.len(), why).await?;
    let unanswered = |call: &&Call| call.answer.is_none() || call.given_up.is_some();
    let in_flight = || flixtube.calls().iter().filter(unanswered).count();
    expect(in_flight() > 0)
        .or(
            "calls in flight after five films were sent: each answer takes 600 ms",
            "none: each film waited for its call's answer",
        )
        .because("the viewer waits for a list that they have not asked for")?;
    flixtube.video.stops_well().await?;
    let cut = in_flight();
    expect(cut == 0)
        .or(
            "every call in flight has its answer before the service ends",
            format!("{cut} of 5 calls cut off at SIGTERM"),
        )
        .because("each release stops the service; a view cut off then may be lost")
}

async fn history_frozen(lab: Lab) -> Outcome {
    const LIMIT: Duration = Duration::from_millis(800);
    let flixtube = FlixTube::open(&lab, LIMIT).await?;
    flixtube.history.service.freeze()?;
    film_not_delayed(&flixtube, LIMIT).await?;
    times_out(&flixtube, LIMIT).await
}

/// Gets the film before the call of the frozen history times out.
async fn film_not_delayed(flixtube: &FlixTube, limit: Duration) -> Outcome {
    let delayed = fail(
        "the film at once, while the call of the history is in flight",
        "the film was held up by the call",
    );
    let delayed = delayed
        .because("the viewer waits for a list that they have not asked for")
        .hole(3);
    let span = flixtube.lab.span();
    let film = span.limit(limit * 3, flixtube.watch()).await;
    span.judge(film.unwrap_or_else(|| Err(delayed.clone().into())))?;
    let over = flixtube.calls().iter().any(|call| call.given_up.is_some());
    span.judge(delayed.unless(!over))
}

/// Waits until the caller gives up its call, and judges how long that took.
async fn times_out(flixtube: &FlixTube, limit: Duration) -> Outcome {
    let lab = &flixtube.lab;
    let expected = format!(
        "the call given up after {} ms (HISTORY_TIMEOUT_MS)",
        limit.as_millis()
    );
    let why = "calls that are never given up pile up: connections, memory, waiting views";
    let call = lab
        .eventually_within(limit * 3, &expected, why, async || {
            let calls = flixtube.calls();
            let Some(call) = calls.first() else {
                return Ok(Seen::NotYet("no call of the history".to_owned()));
            };
            let over = call.given_up.map(|end| lab.between(call.at, end));
            Ok(Seen::some(over, || "not given up".to_owned()))
        })
        .await?;
    let observed = format!("given up after {} ms", call.elapsed().as_millis());
    let given_up = fail(expected, observed);
    call.at_most(limit * 3, given_up.clone().because(why))?;
    // The relay may see the call late: the caller's limit began before.
    let short = given_up.because("a limit that is too short loses views that were on their way");
    call.judge(short.unless(call.elapsed() > limit.mul_f64(0.8)))
}

async fn history_500(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let failures = [Answer::Status(500), Answer::Status(503)];
    flixtube.relay.next(failures);
    let view = flixtube.watch().await?;
    let why = "most failures are over in a moment; giving up at the first one loses the view";
    let calls = flixtube.called(&view, 3, why).await?;
    pauses_grow(&calls)?;
    ends_recorded_once(&flixtube, &view).await
}

/// Pauses are never shorter than they should be; how much longer is up to the machine.
fn pauses_grow(calls: &[Call]) -> Outcome {
    for (pair, pause) in calls.windows(2).zip([0.09, 0.18]) {
        let gap = pair[1].at - pair[0].at;
        expect(gap > pause)
            .or(
                "a pause of 100 ms before the second call, of 200 ms before the third",
                format!("a pause of {:.0} ms", gap * 1e3),
            )
            .because("a service in trouble needs time to recover")?;
    }
    Ok(())
}

async fn history_400(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Status(429)]);
    let busy = flixtube.watch().await?;
    let why = "429 says `too many requests`: the same request may succeed later";
    flixtube.called(&busy, 2, why).await?;
    last_call_succeeds(&flixtube).await?;

    flixtube.relay.next([Answer::Status(400); 8]);
    let view = flixtube.watch().await?;
    let expected = "the refusal is logged at level error";
    let why = "a refused view is a mistake in our code, and somebody must fix it";
    complains(&lab, &flixtube.video, &view, expected, why).await?;
    flixtube.video.stop().await?;
    let calls = flixtube.calls_for(&view);
    expect(calls == 1)
        .or(
            "one call, answered with 400",
            format!("called {calls} times"),
        )
        .because("400 says that the request is wrong, and the same request stays wrong")
}

async fn response_lost(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Lost]);
    let view = flixtube.watch().await?;
    let why = "without an answer the caller cannot know whether the view was recorded";
    flixtube.called(&view, 2, why).await?;
    ends_recorded_once(&flixtube, &view).await
}

/// After its retries `view` is recorded once, under its one id, and nobody complains.
async fn ends_recorded_once(flixtube: &FlixTube, view: &str) -> Outcome {
    last_call_succeeds(flixtube).await?;
    for call in flixtube.calls() {
        expect(call.view == view)
            .or(
                format!("each call carries viewId {view}"),
                format!("a call under another id: {}", call.view),
            )
            .because("under a new id the history takes the same view for another one")?;
    }
    let list = flixtube.history.list().await?;
    expect(list.len() == 1)
        .or(
            "recorded once, however often it was posted",
            format!("recorded {} times", list.len()),
        )
        .hole(1)
        .because("the first call may have been recorded although its answer was lost")?;
    flixtube.recorded(&[view.to_owned()]).await?;
    let lines = complaints(&flixtube.video, view);
    expect(lines.is_empty())
        .or(
            "no complaint in the log: the view is recorded",
            lines.join("\n"),
        )
        .because("false alarms make operators stop reading the log")
}

/// Waits until the history answers the last call with success.
async fn last_call_succeeds(flixtube: &FlixTube) -> Outcome {
    let expected = "the last call answered with 200 OK";
    let why = "a caller whose view is recorded must hear 200, the second time too";
    flixtube
        .lab
        .eventually(expected, why, async || {
            let calls = flixtube.calls();
            match calls.last().and_then(|call| call.answer.as_ref()) {
                None => Ok(Seen::NotYet("no answer".to_owned())),
                Some(answer) if answer.is_client_error() => {
                    Err(fail(expected, answer).because(why).hole(1).into())
                }
                Some(answer) => Ok(Seen::when(answer.is_success(), || answer.to_string())),
            }
        })
        .await
}
