//! HOLE 4: a history that does not answer, or not to the end.

use std::fmt::Display;
use std::time::Duration;

use anyhow::Context;
use check::{Failure, Lab, Outcome, Seen, Service, fail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::flixtube::{AMPLE, FlixTube, watch};

/// Freezes the history: its kernel accepts connections, and no answer comes.
pub async fn history_frozen(lab: Lab) -> Outcome {
    const LIMIT: Duration = Duration::from_millis(800);
    const SHORT: Duration = Duration::from_millis(200);
    let flixtube = FlixTube::open(&lab, LIMIT).await?;
    let impatient = flixtube
        .another_video("impatient", &flixtube.relay.url(), SHORT)
        .await?;
    let history = flixtube.history.service.url("");
    let crowded = flixtube.another_video("crowded", &history, AMPLE).await?;
    flixtube.history.service.freeze()?;
    let view = film_not_delayed(&flixtube, LIMIT).await?;
    // While a first call is in flight.
    film_not_delayed(&flixtube, LIMIT).await?;
    let other = flixtube.watch_at(&impatient).await?;
    times_out(&flixtube, &other, SHORT).await?;
    times_out(&flixtube, &view, LIMIT).await?;
    crowd(&lab, &crowded).await?;
    half_answered(&flixtube, SHORT).await
}

/// Gets the film before a call of the frozen history times out, and returns the view.
async fn film_not_delayed(flixtube: &FlixTube, limit: Duration) -> Outcome<String> {
    let delayed = delayed("the film was held up by a call");
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
    call.judge(short.unless(call.elapsed() > limit.mul_f64(0.6)))
}

/// Gets a film for each of a crowd, while every call waits for the frozen history.
async fn crowd(lab: &Lab, video: &Service) -> Outcome {
    const CROWD: usize = 150;
    const LONG: Duration = Duration::from_secs(3);
    let mut viewers = JoinSet::new();
    for _ in 0..CROWD {
        let video = video.clone();
        viewers.spawn_local(async move { watch(&video).await });
    }
    let mut films = 0;
    let all = async {
        while let Some(Ok(film)) = viewers.join_next().await {
            film?;
            films += 1;
        }
        Ok(())
    };
    let span = lab.span();
    let all = span.limit(LONG, all).await;
    let instead =
        format!("of {CROWD} viewers at once {films} got the film; calls held up the others");
    span.judge(all.unwrap_or_else(|| Err(delayed(instead).into())))
}

/// The failure of a film that waits for a call.
fn delayed(observed: impl Display) -> Failure {
    fail(
        "each film at once, while calls of the history are in flight",
        observed,
    )
    .because("the viewer waits for a list that they have not asked for")
    .hole(3)
}

/// Sends the head of an answer and nothing more. The caller may read on, but not longer than its
/// limit.
async fn half_answered(flixtube: &FlixTube, limit: Duration) -> Outcome {
    const LATE: Duration = Duration::from_secs(1);
    let history = TcpListener::bind(("127.0.0.1", 0)).await;
    let history = history.context("no port for half an answer")?;
    let port = history.local_addr().context("no address")?.port();
    let url = format!("http://127.0.0.1:{port}");
    let video = flixtube.another_video("half-answered", &url, limit).await?;
    watch(&video).await?;
    let span = flixtube.lab.span();
    let over = span.limit(limit + LATE, head_alone(&history)).await;
    let expected = format!(
        "the call given up after {} ms (HISTORY_TIMEOUT_MS), though half of the answer has come",
        limit.as_millis()
    );
    let reads = "the head of the answer came; the call still waits for the body";
    let why = "awc's limit ends with the head: a body that never ends holds the task for ever";
    let endless = fail(expected, reads).because(why).hole(2);
    span.judge(endless.unless(over.is_some()))
}

/// Answers the first call with a head, and returns when the caller hangs up.
async fn head_alone(history: &TcpListener) -> std::io::Result<()> {
    let (mut caller, _) = history.accept().await?;
    let mut request = Vec::new();
    while !request.ends_with(b"}") && caller.read_buf(&mut request).await? > 0 {}
    caller
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{")
        .await?;
    while caller.read_buf(&mut request).await? > 0 {}
    Ok(())
}
