//! The checks of chapter 01: a watched film reaches the history, whatever fails on the way.

mod flixtube;

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::http::Method;
use check::check;
use check::wiretap::Answer;
use check::{Checks, Lab, Outcome, Seen, expect, fail};
use flixtube::{Call, FlixTube, History, SOON, comma, complaints, hole_of, watch};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The time limit of a call in a check that does not wait for a timeout: longer than any call
/// takes, even on a busy machine.
const AMPLE: Duration = Duration::from_secs(15);
/// How many calls a view gets at most, as in the task.
const TRIES: usize = 4;
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
        check!(given_up, HOLE 5, "a view is given up after four calls, and logged once"),
        check!(history_400, HOLE 6, "a call answered with 4xx is not retried, except 408, 429"),
    ],
});

async fn told_twice(lab: Lab) -> Outcome {
    let history = History::open(&lab).await?;
    let mut views = vec![view("./twice.mp4")];
    history.record(&views[0]).await?;
    history.record(&views[0]).await?;
    listed_once(&history, &views).await?;

    let at_once = [view("./a.mp4"), view("./b.mp4")];
    let mut posts = JoinSet::new();
    for view in at_once.iter().chain(&at_once).cloned() {
        let history = history.clone();
        posts.spawn_local(async move { history.record(&view).await.map(drop) });
    }
    let posts = posts.join_all().await.into_iter().collect();
    history.served(posts).await?;
    views.extend(at_once);
    listed_once(&history, &views).await
}

/// The list has each of `views` once, and nothing else.
async fn listed_once(history: &History, views: &[Value]) -> Outcome {
    let list = history.list().await?;
    let listed: BTreeSet<_> = list.iter().map(|view| &*view.id).collect();
    let posted: BTreeSet<_> = views
        .iter()
        .filter_map(|view| view["viewId"].as_str())
        .collect();
    expect(list.len() == posted.len() && listed == posted)
        .or(
            format!(
                "one view in the history for each id posted: {}",
                comma(posted)
            ),
            comma(list.iter().map(|view| &view.id)),
        )
        .hole(1)
        .because("a caller whose 200 was lost posts the same view again")
}

async fn recorded(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.watch().await?;
    flixtube.all_recorded().await?;
    views_without_id(&flixtube.history, &lab).await?;

    let answers = [201, 202, 204];
    flixtube.relay.next(answers.map(Answer::Status));
    let mut views = Vec::new();
    for _ in answers {
        let view = flixtube.watch().await?;
        flixtube.called(&view, 1, 2, "each view is told").await?;
        views.push(view);
    }
    failure_noticed(&flixtube).await?;
    // A stopped service has made all its calls.
    flixtube.video.stop().await?;
    called_once(&flixtube, &views)?;
    connection_shared(&flixtube.calls(), &views)
}

/// An older service sends no id, so each of its calls is a view of its own.
async fn views_without_id(history: &History, lab: &Lab) -> Outcome {
    let path = format!("./videos/ünï \"{:x}\".mp4", lab.random(rand::Rng::next_u32));
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(history.record(&json!({ "videoPath": path })).await?);
    }
    let list = history.list().await?;
    let listed = |id: &String| list.iter().any(|view| view.path == path && view.id == *id);
    expect(list.len() == 3 && ids.iter().all(listed))
        .or(
            format!("the film, then {path} two times, under {}", comma(&ids)),
            comma(
                list.iter()
                    .map(|view| format!("{} under {}", view.path, view.id)),
            ),
        )
        .hole(1)
        .because("an older service sends no viewId, and its views count too")
}

/// A call answered with 500 is not taken for success. Who notices depends on the holes that are
/// filled: the viewer, the log, or the history, which is called again.
async fn failure_noticed(flixtube: &FlixTube) -> Outcome {
    flixtube.relay.next([Answer::Status(500)]);
    let answer = flixtube.video.get("/video").await?;
    let Some(view) = answer.header("view-id").filter(|_| answer.ok()) else {
        return Ok(());
    };
    let expected = "a call answered with 500 is a failure: a retry, or a line of level error";
    let why = "awc returns `Ok` for a 500, too; only the status tells them apart";
    flixtube
        .lab
        .eventually_within(SOON, expected, why, async || {
            let lines = complaints(&flixtube.video, view);
            let noticed = flixtube.calls_for(view) > 1 || !lines.is_empty();
            Ok(Seen::when(noticed, || "neither of them".to_owned()))
        })
        .await
}

/// Each of `views` was answered with another 2xx than 200, and told once.
fn called_once(flixtube: &FlixTube, views: &[String]) -> Outcome {
    for view in views {
        let calls = flixtube.calls_for(view);
        expect(calls == 1)
            .or(
                "one call for each view that is answered with 201, 202 or 204",
                format!("{calls} calls for view {view}"),
            )
            .hole(2)
            .because("each 2xx answer is success, and success needs no retry")?;
    }
    Ok(())
}

/// The calls for `views`, made one after the other, share a connection.
fn connection_shared(calls: &[Call], views: &[String]) -> Outcome {
    let told: Vec<_> = calls
        .iter()
        .filter(|call| views.contains(&call.view))
        .collect();
    let connections: BTreeSet<_> = told.iter().map(|call| call.connection).collect();
    // The retry of the last view tells whether each call or each view has a client of its own.
    let retry_shares = calls
        .windows(2)
        .any(|pair| pair[0].view == pair[1].view && pair[0].connection == pair[1].connection);
    expect(connections.len() < told.len())
        .or(
            "one client, which uses its connection again for the next call",
            format!(
                "{} calls, one after the other, on as many connections",
                told.len()
            ),
        )
        .hole(if retry_shares { 3 } else { 2 })
        .because("a connection for each call costs both services time and ports")
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
        .or("the two good views in the history", comma(&paths))
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
    let why = "a 200 is a promise: the caller now forgets the view";
    in_list(&history, &path, "after its 200", why).await?;
    history.service.kill().await?;
    history.service.start().await?;
    in_list(&history, &path, "after kill -9 and restart", why).await?;
    // What the restarted history knows comes from its file.
    history.record(&view).await?;
    let why = "a caller may retry when the history is back; its memory of ids is gone";
    in_list(&history, &path, "told again after a restart", why).await
}

/// The one view in the list is that of `path`.
async fn in_list(history: &History, path: &str, when: &str, why: &str) -> Outcome {
    let paths = history.paths().await?;
    expect(paths == [path])
        .or(
            format!("{path} in the history, once, {when}"),
            comma(&paths),
        )
        .because(why)
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
    let flixtube = FlixTube::without_history(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Status(400); TRIES]);
    let mut views = vec![flixtube.watch().await?];
    complains(&flixtube, &views[0], 3).await?;

    flixtube.relay.refuse();
    for _ in 0..2 {
        views.push(flixtube.watch().await?);
    }
    for view in &views {
        // A refused view is logged: then the task logs what `tell` returns.
        complains(&flixtube, view, 5).await?;
    }
    // A stopped service has logged everything.
    flixtube.video.stop().await?;
    for view in &views {
        logged_once(&flixtube, view)?;
    }
    Ok(())
}

/// Waits until the failure of `view` is logged.
async fn complains(flixtube: &FlixTube, view: &str, hole: u32) -> Outcome {
    let expected = format!("a line of level error with view {view}, which is lost");
    let why = "a failure that nobody sees lasts for months";
    flixtube
        .lab
        .eventually_within(SOON, &expected, why, async || {
            let said = !complaints(&flixtube.video, view).is_empty();
            let instead = || "no line of level error with it".to_owned();
            Ok(Seen::when(said, instead).hole(hole))
        })
        .await
}

/// The one complaint about `view` names the URL of the history.
fn logged_once(flixtube: &FlixTube, view: &str) -> Outcome {
    let lines = complaints(&flixtube.video, view);
    let Some(last) = lines.last() else {
        return Ok(()); // `complains` has waited for it.
    };
    expect(lines.len() == 1)
        .or(
            format!("one line of level error for view {view}"),
            format!("{} lines of level error: {}", lines.len(), lines[0]),
        )
        .hole(hole_of(&lines[0]))
        .because("an operator counts lost views in the log, not tries")?;
    let url = flixtube.relay.url();
    expect(last.contains(&url))
        .or(format!("the URL {url} in the log's line"), last)
        .hole(3)
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
    for view in &views {
        let why = "the history must hear of each view";
        flixtube.called(view, 1, 3, why).await?;
    }
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
    const SHORT: Duration = Duration::from_millis(200);
    let flixtube = FlixTube::open(&lab, LIMIT).await?;
    let impatient = flixtube.another_video("impatient", SHORT).await?;
    flixtube.history.service.freeze()?;
    let view = film_not_delayed(&flixtube, LIMIT).await?;
    // While a first call is in flight.
    film_not_delayed(&flixtube, LIMIT).await?;
    let other = flixtube.watch_at(&impatient).await?;
    times_out(&flixtube, &other, SHORT).await?;
    times_out(&flixtube, &view, LIMIT).await
}

/// Gets the film before a call of the frozen history times out, and returns the view.
async fn film_not_delayed(flixtube: &FlixTube, limit: Duration) -> Outcome<String> {
    let delayed = fail(
        "each film at once, while calls of the history are in flight",
        "the film was held up by a call",
    );
    let delayed = delayed
        .because("the viewer waits for a list that they have not asked for")
        .hole(3);
    let span = flixtube.lab.span();
    let film = span.limit(limit * 3, flixtube.watch()).await;
    let view = span.judge(film.unwrap_or_else(|| Err(delayed.clone().into())))?;
    let over = flixtube.calls().iter().any(|call| call.given_up.is_some());
    span.judge(delayed.unless(!over))?;
    Ok(view)
}

/// Waits until the caller gives up its first call for `view`, and judges how long that took.
async fn times_out(flixtube: &FlixTube, view: &str, limit: Duration) -> Outcome {
    let lab = &flixtube.lab;
    let expected = format!(
        "the call given up after {} ms (HISTORY_TIMEOUT_MS)",
        limit.as_millis()
    );
    let why = "calls that are never given up pile up: connections, memory, waiting views";
    let call = lab
        .eventually_within(limit * 3, &expected, why, async || {
            let calls = flixtube.calls();
            let Some(call) = calls.iter().find(|call| call.view == view) else {
                return Ok(Seen::NotYet("no call of the history".to_owned()));
            };
            let over = call.given_up.map(|end| lab.between(call.at, end));
            Ok(Seen::some(over, || "not given up".to_owned()))
        })
        .await?;
    let observed = format!("given up after {} ms", call.elapsed().as_millis());
    let given_up = fail(expected, observed);
    let late = Duration::from_millis(400);
    call.at_most(limit + late, given_up.clone().because(why))?;
    // The relay may see the call late: the caller's limit began before.
    let short = given_up.because("a limit that is too short loses views that were on their way");
    call.judge(short.unless(call.elapsed() > limit.mul_f64(0.8)))
}

async fn history_500(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([500, 502, 504].map(Answer::Status));
    let view = flixtube.watch().await?;
    let why = "most failures are over in a moment; giving up at the first one loses the view";
    flixtube.called(&view, TRIES - 1, 5, why).await?;
    answers_meanwhile(&flixtube).await?;
    let calls = flixtube.called(&view, TRIES, 5, why).await?;
    let times: Vec<_> = calls.iter().map(|call| call.at).collect();
    pauses_grow(&lab, &times)?;
    ends_recorded_once(&flixtube, &view).await
}

/// The service answers while a view waits 400 ms for its last call.
async fn answers_meanwhile(flixtube: &FlixTube) -> Outcome {
    const WELL_BEFORE: Duration = Duration::from_millis(250);
    let span = flixtube.lab.span();
    flixtube.video.get("/health").await?;
    let span = span.end();
    let observed = format!("it answered after {} ms", span.elapsed().as_millis());
    let standstill = fail(
        "GET /health answered at once, while a view waits for its next call",
        observed,
    );
    let why = "a pause that blocks the thread stops every other viewer (`std::thread::sleep`)";
    span.at_most(WELL_BEFORE, standstill.because(why).hole(5))
}

/// The pauses between calls at these `times`: 100 ms, and twice as long each time.
fn pauses_grow(lab: &Lab, times: &[f64]) -> Outcome {
    for (pair, pause) in times.windows(2).zip([100, 200, 400]) {
        let pause = Duration::from_millis(pause);
        let gap = lab.between(pair[0], pair[1]);
        let wrong = fail(
            "pauses of 100 ms, 200 ms and 400 ms between the four calls",
            format!(
                "a pause of {} ms instead of {} ms",
                gap.elapsed().as_millis(),
                pause.as_millis()
            ),
        );
        let short = "a service in trouble needs time to recover";
        expect(gap.elapsed() > pause.mul_f64(0.9))
            .or(&wrong.expected, &wrong.observed)
            .hole(5)
            .because(short)?;
        let long = "a view that waits is lost when this service is killed";
        gap.at_most(pause * 2, wrong.because(long).hole(5))?;
    }
    Ok(())
}

async fn response_lost(lab: Lab) -> Outcome {
    const LIMIT: Duration = Duration::from_millis(500);
    let flixtube = FlixTube::open(&lab, LIMIT).await?;
    flixtube.relay.next([Answer::Status(503), Answer::Lost]);
    let view = flixtube.watch().await?;
    let why = "without an answer the caller cannot know whether the view was recorded";
    flixtube.called(&view, 2, 5, why).await?;
    flixtube.called(&view, 3, 6, why).await?;
    ends_recorded_once(&flixtube, &view).await?;

    flixtube.relay.next([Answer::Late(AMPLE)]);
    let view = flixtube.watch().await?;
    let why = "a call that timed out may have been recorded, or not";
    flixtube.called(&view, 2, 6, why).await?;
    ends_recorded_once(&flixtube, &view).await
}

/// After its retries `view` is recorded once, under its one id, and nobody complains.
async fn ends_recorded_once(flixtube: &FlixTube, view: &str) -> Outcome {
    last_call_succeeds(flixtube).await?;
    flixtube.all_recorded().await?;
    let lines = complaints(&flixtube.video, view);
    let Some(line) = lines.first() else {
        return Ok(());
    };
    Err(fail("no line of level error: the view is recorded", line)
        .because("false alarms make operators stop reading the log")
        .hole(hole_of(line))
        .into())
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

async fn given_up(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.turn_away();
    let view = flixtube.watch().await?;
    let calls = || flixtube.turned_away().len();
    let expected = "four calls that find no connection, then a line of level error";
    let why = "a view that nobody gives up takes memory, and no operator hears of it";
    lab.eventually_within(SOON, expected, why, async || {
        let over = calls() > TRIES || !complaints(&flixtube.video, &view).is_empty();
        let instead = || format!("{} calls and no such line", calls());
        Ok(Seen::when(over, instead).hole(5))
    })
    .await?;
    let made = calls();
    let hole = match made {
        1 if retries_503(&flixtube).await? => 6,
        _ => 5,
    };
    expect(made == TRIES)
        .or(expected, format!("{made} calls"))
        .hole(hole)
        .because("a moment without the history must lose no view, and retries must end")?;
    pauses_grow(&lab, &flixtube.turned_away())?;
    flixtube.video.stops_well().await?;
    logged_once(&flixtube, &view)
}

/// Whether a call answered with 503 is made again.
async fn retries_503(flixtube: &FlixTube) -> Outcome<bool> {
    flixtube.relay.restore();
    flixtube.relay.next([Answer::Status(503)]);
    let view = flixtube.watch().await?;
    Ok(flixtube.called(&view, 2, 5, "").await.is_ok())
}

async fn history_400(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([429, 408].map(Answer::Status));
    let busy = flixtube.watch().await?;
    let why = "429 `too many requests` and 408 `timeout`: the same call may succeed later";
    flixtube.called(&busy, 3, 6, why).await?;
    last_call_succeeds(&flixtube).await?;

    let refusals = [400, 404, 422, 301];
    flixtube.relay.next(refusals.map(Answer::Status));
    flixtube.relay.next([Answer::Status(403); 12]); // for calls that must not come
    let mut views = Vec::new();
    for _ in refusals {
        let view = flixtube.watch().await?;
        flixtube.called(&view, 1, 2, "each view is told").await?;
        views.push(view);
    }
    for view in &views {
        complains(&flixtube, view, 3).await?;
    }
    flixtube.video.stop().await?;
    for (view, status) in views.iter().zip(refusals) {
        let calls = flixtube.calls_for(view);
        expect(calls == 1)
            .or(
                format!("one call, answered with {status}"),
                format!("called {calls} times"),
            )
            .because(
                "`may_pass` says no, and `tell` must ask it: a refused request stays refused",
            )?;
    }
    Ok(())
}
