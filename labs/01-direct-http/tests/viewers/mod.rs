//! HOLES 2 and 3: each film is told, and no viewer waits for that.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::Answer;
use check::{Lab, Outcome, Seen, Stop, expect};
use serde_json::json;
use tokio::task::JoinSet;

use crate::flixtube::{
    AMPLE, Call, FlixTube, History, SOON, TRIES, comma, complaints, hole_of, watch,
};

/// Watches films, and looks at the calls and at the list.
pub async fn recorded(lab: Lab) -> Outcome {
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
    flixtube.remember(vec![view.to_owned()]);
    let expected = "a call answered with 500 is a failure: a retry, or a line of level error";
    let why = "awc returns `Ok` for a 500, too; only the status tells them apart";
    flixtube
        .lab
        .eventually_within(SOON, expected, why, async || {
            let lines = complaints(&flixtube.video, view);
            let noticed = flixtube.calls_under(view)?.len() > 1 || !lines.is_empty();
            Ok(Seen::when(noticed, || "neither of them".to_owned()))
        })
        .await
}

/// Each of `views` was answered with another 2xx than 200: told once, and nothing is wrong.
fn called_once(flixtube: &FlixTube, views: &[String]) -> Outcome {
    for view in views {
        let calls = flixtube.calls_for(view);
        let lines = complaints(&flixtube.video, view);
        let and = lines.first().map(|line| format!(", and this line: {line}"));
        expect(calls == 1 && lines.is_empty())
            .or(
                "one call for a view that is answered with 201, 202 or 204, and no error",
                format!("{calls} call(s) for view {view}{}", and.unwrap_or_default()),
            )
            .hole(2)
            .because("each 2xx answer is success, not only 200")?;
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

/// Watches a hundred films at once, twice.
pub async fn hundred_viewers(lab: Lab) -> Outcome {
    const VIEWERS: usize = 100;
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let services = [&flixtube.video, &flixtube.history.service];
    let frugal = lab.frugal(&services, VIEWERS, "views", async |count| {
        let mut viewers = JoinSet::new();
        for _ in 0..count {
            let video = flixtube.video.clone();
            viewers.spawn_local(async move { watch(&video).await });
        }
        let watched: Outcome<Vec<_>> = viewers.join_all().await.into_iter().collect();
        flixtube.remember(watched?);
        flixtube.all_recorded().await
    });
    // What the history keeps is kept in HOLE 1; a view's task and its client belong to HOLE 3.
    frugal.await.map_err(|stop| match stop {
        Stop::Failed(leak) if leak.hole.is_none() => {
            let of_history = leak.expected.starts_with("history");
            leak.hole(if of_history { 1 } else { 3 }).into()
        }
        stop => stop,
    })
}

/// Watches films while the history refuses.
pub async fn history_down(lab: Lab) -> Outcome {
    let flixtube = FlixTube::without_history(&lab, AMPLE).await?;
    flixtube.relay.next([Answer::Status(400); TRIES]);
    let mut views = vec![flixtube.watch().await?];
    refusal_logged(&flixtube, &views[0]).await?;

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

/// Waits until the failure of `view`, answered with 4xx, is logged. If it is not, HOLE 2 is at fault
/// where a refused connection is logged, else HOLE 3.
pub async fn refusal_logged(flixtube: &FlixTube, view: &str) -> Outcome {
    let Err(Stop::Failed(unnoticed)) = complains(flixtube, view, 3).await else {
        return Ok(());
    };
    flixtube.relay.refuse();
    let other = flixtube.watch().await?;
    let answer_ignored = complains(flixtube, &other, 3).await.is_ok();
    Err(unnoticed.hole(if answer_ignored { 2 } else { 3 }).into())
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
pub fn logged_once(flixtube: &FlixTube, view: &str) -> Outcome {
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

/// Sends SIGTERM while calls are in flight.
pub async fn stopped(lab: Lab) -> Outcome {
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
