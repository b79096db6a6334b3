//! The checks of chapter 01: a watched film reaches the history, whatever befalls it.

mod flixtube;

use std::time::Duration;

use actix_web::http::Method;
use check::Exit;
use check::check;
use check::wiretap::Answer;
use check::{Checks, Failure, Lab, Outcome, Seen, expect, fail};
use flixtube::{FlixTube, History, complaints, watch};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

/// The time limit of a call, where a check does not wait for one to be over: longer than any
/// call takes, also on a busy machine.
const AMPLE: Duration = Duration::from_secs(15);
/// How long a view's tries may take when each fails at once, and its line in the log.
const SOON: Duration = Duration::from_secs(4);
const JSON: &str = "application/json";

check::main!(Checks {
    broker: false,
    hole_for: |_| 1,
    all: vec![
        check!(recorded, HOLE 2, "a watched film reaches the history"),
        check!(bad_input, HOLE 2, "nonsense is refused and nothing of it recorded"),
        check!(hundred_viewers, HOLE 2, "a hundred viewers at once, a hundred views"),
        check!(killed_after_200, HOLE 2, "a view answered with 200 survives a kill -9"),
        check!(history_down, HOLE 3, "without the history: film whole, failure logged once"),
        check!(stopped, HOLE 3, "told to stop, it finishes the calls in hand"),
        check!(history_frozen, HOLE 4, "a frozen history: film not held up, call given up"),
        check!(history_500, HOLE 5, "an answer of 5xx: tried again, recorded once"),
        check!(history_400, HOLE 5, "an answer of 4xx: not tried again"),
        check!(response_lost, HOLE 5, "a lost answer: tried again, recorded once"),
    ],
});

async fn recorded(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let view = flixtube.watch().await?;
    flixtube.recorded(&[view]).await?;

    // As the older service tells it: without an id, so each call is a view of its own.
    let path = format!("./videos/ünï \"{:x}\".mp4", lab.random(rand::Rng::next_u32));
    for _ in 0..2 {
        flixtube.history.told(&json!({ "videoPath": path })).await?;
    }
    let paths = flixtube.history.paths().await?;
    expect(paths == [common::video::PATH, &path, &path])
        .or(
            format!("the film, then {path} two times: told two times without viewId"),
            format!("{paths:?}"),
        )
        .because("an older service sends no viewId, and its views count too")
}

async fn bad_input(lab: Lab) -> Outcome {
    let history = History::open(&lab).await?;
    let good = |path: &str| json!({ "videoPath": path, "viewId": Uuid::new_v4() });
    history.told(&good("./before.mp4")).await?;

    let huge = json!({ "videoPath": "x".repeat(100_000) }).to_string();
    let garbage: [u8; 40] = lab.random(rand::RngExt::random);
    let post = |what, body: &[u8]| (what, Method::POST, "/viewed", JSON, body.to_vec());
    let no_uuid = br#"{"videoPath": "./a.mp4", "viewId": "7"}"#;
    let film = br#"{"videoPath": "./a.mp4"}"#.to_vec();
    for (what, method, path, kind, body) in [
        post("no body", b""),
        post("half of a JSON", br#"{"videoPath": "./a"#),
        post("bytes that are no text", &garbage),
        post("no videoPath", b"{}"),
        post("another field", br#"{"path": "./a.mp4"}"#),
        post("a number as videoPath", br#"{"videoPath": 7}"#),
        post("null as videoPath", br#"{"videoPath": null}"#),
        post("an empty videoPath", br#"{"videoPath": ""}"#),
        post("a viewId that is no UUID", no_uuid),
        post("a huge body", huge.as_bytes()),
        (
            "text as its type",
            Method::POST,
            "/viewed",
            "text/plain",
            film.clone(),
        ),
        ("a view in it", Method::PUT, "/viewed", JSON, film),
        (
            "a negative skip",
            Method::GET,
            "/history?skip=-1",
            JSON,
            vec![],
        ),
        (
            "a limit of 0",
            Method::GET,
            "/history?limit=0",
            JSON,
            vec![],
        ),
    ] {
        let expected = format!("4xx for {method} {path} with {what}");
        let answer = history.service.send(method, path, kind, body).await?;
        expect((400..500).contains(&answer.status))
            .or(expected, answer.summary())
            .because("a caller must learn that it is the request that is wrong")?;
    }

    history.told(&good("./after.mp4")).await?;
    let paths = history.paths().await?;
    expect(paths == ["./before.mp4", "./after.mp4"])
        .or("the two good views in the history", format!("{paths:?}"))
        .because("what was refused must leave no trace")
}

async fn hundred_viewers(lab: Lab) -> Outcome {
    const VIEWERS: usize = 100;
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let mut viewers = JoinSet::new();
    for _ in 0..VIEWERS {
        let video = flixtube.video.clone();
        viewers.spawn_local(async move { watch(&video).await });
    }
    let mut watched = Vec::new();
    for view in viewers.join_all().await {
        watched.push(view?);
    }
    flixtube.recorded(&watched).await
}

async fn killed_after_200(lab: Lab) -> Outcome {
    let why = "a 200 is a promise: whoever has it forgets the view";
    let history = lab.service("history").await?;
    let history = History::start(history.with("DATABASE_TIMEOUT_MS", 100)).await?;
    let path = format!("./videos/{:x}.mp4", lab.random(rand::Rng::next_u32));
    let view = json!({ "videoPath": path, "viewId": Uuid::new_v4() });

    let locked = history.service.lock_database()?;
    let answer = history.service.post("/viewed", &view).await?;
    drop(locked);
    expect(answer.status >= 500)
        .or(
            "an error while the database is locked: nothing can be committed",
            format!("{} while it was locked", answer.summary()),
        )
        .because(why)?;

    history.told(&view).await?;
    history.service.kill().await?;
    history.service.start().await?;
    let paths = history.paths().await?;
    expect(paths.contains(&path))
        .or(
            format!("{path} in the history after kill -9 and restart"),
            format!("{paths:?}"),
        )
        .because(why)
}

async fn history_down(lab: Lab) -> Outcome {
    let history = lab.service("history").await?; // never started
    let video = lab
        .service("video-streaming")
        .await?
        .with("HISTORY_URL", history.url(""));
    video.start().await?;
    let views = [watch(&video).await?, watch(&video).await?];
    let why = "a failure that nobody sees is the one that lasts for months";
    for view in &views {
        let expected = format!("a line of level error with view {view}");
        lab.eventually_within(SOON, &expected, why, async || {
            let said = !complaints(&video, view).is_empty();
            Ok(Seen::when(said, || {
                "no line of level error with it".to_owned()
            }))
        })
        .await?;
    }
    // Once it has stopped, everything has been said.
    video.stop().await?;
    for view in &views {
        let lines = complaints(&video, view);
        expect(lines.len() == 1)
            .or(
                format!("one line of level error for view {view}"),
                format!("{} lines of level error: {}", lines.len(), lines[0]),
            )
            .because("who reads the log counts lost views, not tries")?;
        expect(lines[0].contains(&history.url("")))
            .or(
                format!("the URL {} in the log's line", history.url("")),
                &lines[0],
            )
            .because("whoever reads the log must see where it fails")?;
    }
    Ok(())
}

async fn stopped(lab: Lab) -> Outcome {
    const HELD_BACK: Duration = Duration::from_millis(400);
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Late(HELD_BACK); 5]);
    let mut views = Vec::new();
    for _ in 0..5 {
        views.push(flixtube.watch().await?);
    }
    flixtube
        .called(&views[0], views.len(), "each view is told")
        .await?;
    let exit = flixtube.video.stop().await?;
    let cut = flixtube
        .calls()
        .iter()
        .filter(|call| call.answer.is_none())
        .count();
    let given_up = flixtube
        .calls()
        .iter()
        .filter(|call| call.given_up.is_some())
        .count();
    expect(cut + given_up == 0)
        .or(
            "every call in hand has its answer before the service ends",
            format!("{} of 5 calls cut off at SIGTERM", cut.max(given_up)),
        )
        .because("a service is stopped at every release; a view cut off then may be lost")?;
    expect(exit == Exit::Code(0))
        .or("exit code 0 after SIGTERM", exit)
        .because("anything else tells whoever stopped it that it crashed")
}

async fn history_frozen(lab: Lab) -> Outcome {
    const LIMIT: Duration = Duration::from_millis(800);
    let flixtube = FlixTube::open(&lab, LIMIT).await?;
    flixtube.history.service.freeze()?;
    let span = lab.span();
    let film = span.limit(LIMIT * 3, flixtube.watch()).await;
    span.judge(film.unwrap_or_else(|| Err(held_up().into())))?;
    let given_up = flixtube.calls().iter().any(|call| call.given_up.is_some());
    span.judge(held_up().unless(!given_up))?;

    let limit = LIMIT.as_millis();
    let why = "what is not given up piles up: connections, memory, waiting views";
    let expected = format!("the call given up after {limit} ms (HISTORY_TIMEOUT_MS)");
    let call = lab
        .eventually_within(LIMIT * 3, &expected, why, async || {
            let calls = flixtube.calls();
            let Some(call) = calls.first() else {
                return Ok(Seen::NotYet("no call of the history".to_owned()));
            };
            let over = call.given_up.map(|end| lab.between(call.at, end));
            Ok(over.map_or_else(|| Seen::NotYet("not given up".to_owned()), Seen::Yes))
        })
        .await?;
    let given_up = fail(
        expected,
        format!("given up after {} ms", call.elapsed().as_millis()),
    );
    call.at_most(LIMIT * 3, given_up.clone().because(why))?;
    // The relay may see the call late: the service's limit began before.
    let short = given_up.because("a limit that is too short loses views that were on their way");
    span.judge(short.unless(call.elapsed() > LIMIT.mul_f64(0.8)))
}

fn held_up() -> Failure {
    fail(
        "the film at once, while the call of the history is under way",
        "the film was held up by the call",
    )
    .because("the viewer waits for a list that they have not asked for")
    .hole(3)
}

async fn history_500(lab: Lab) -> Outcome {
    let why = "most failures are over in a moment; giving up at the first loses the view";
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube
        .relay
        .next([Answer::Status(500), Answer::Status(503)]);
    let view = flixtube.watch().await?;
    let calls = flixtube.called(&view, 3, why).await?;
    // Never shorter than the pause; how much longer is up to the machine.
    for (pair, pause) in calls.windows(2).zip([0.09, 0.18]) {
        let gap = pair[1].at - pair[0].at;
        expect(gap > pause)
            .or(
                "a pause of 100 ms before the second call, of 200 ms before the third",
                format!("a pause of {:.0} ms", gap * 1e3),
            )
            .because("a service that is in trouble needs room to get out of it")?;
    }
    once(&flixtube, &view).await
}

async fn history_400(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Status(400); 8]);
    let view = flixtube.watch().await?;
    let why = "a refused view is a mistake of ours, and somebody has to mend it";
    lab.eventually_within(
        SOON,
        "the refusal is logged at level error",
        why,
        async || {
            let said = !complaints(&flixtube.video, &view).is_empty();
            Ok(Seen::when(said, || "no line of level error".to_owned()))
        },
    )
    .await?;
    flixtube.video.stop().await?;
    expect(flixtube.calls().len() == 1)
        .or(
            "one call, answered with 400",
            format!("called {} times", flixtube.calls().len()),
        )
        .because("400 says that the request is wrong; the same one is wrong the next time too")
}

async fn response_lost(lab: Lab) -> Outcome {
    let why = "who gets no answer cannot know; only asking again makes sure";
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Lost]);
    let view = flixtube.watch().await?;
    flixtube.called(&view, 2, why).await?;
    once(&flixtube, &view).await
}

/// All calls tell of `view`, the last is answered with success, the view is recorded once and
/// nobody complains.
async fn once(flixtube: &FlixTube, view: &str) -> Outcome {
    let why = "that it is recorded is what the caller wants to hear, also the second time";
    let expected = "the last call answered with 200 OK";
    flixtube
        .lab
        .eventually(expected, why, async || {
            let calls = flixtube.calls();
            let answer = calls.last().and_then(|call| call.answer.as_ref());
            let Some(answer) = answer else {
                return Ok(Seen::NotYet("no answer".to_owned()));
            };
            if answer.is_client_error() {
                return Err(fail(expected, answer).because(why).hole(2).into());
            }
            Ok(Seen::when(answer.is_success(), || answer.to_string()))
        })
        .await?;
    for call in flixtube.calls() {
        expect(call.view == view)
            .or(
                format!("each call tells of view {view}"),
                format!("a call under another id: {}", call.view),
            )
            .because("under a new id the history takes the same view for another one")?;
    }
    let list = flixtube.history.list().await?;
    expect(list.len() == 1)
        .or(
            "recorded once, however often it was told",
            format!("recorded {} times", list.len()),
        )
        .hole(2)
        .because("the first call may have been recorded although its answer was lost")?;
    flixtube.recorded(&[view.to_owned()]).await?;
    let lines = complaints(&flixtube.video, view);
    expect(lines.is_empty())
        .or(
            "no complaint in the log: the view is recorded",
            lines.join("\n"),
        )
        .because("false alarms make people stop reading the log")
}
