//! HOLES 5 and 6: calls that fail or are refused.

use std::time::Duration;

use check::wiretap::Answer;
use check::{Lab, Outcome, Seen, expect, fail};

use crate::flixtube::{AMPLE, FlixTube, SOON, TRIES, complaints, hole_of, watch};
use crate::viewers::{logged_once, refusal_logged};

/// Answers three calls with 5xx.
pub async fn history_500(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([500, 502, 504].map(Answer::Status));
    let view = flixtube.watch().await?;
    let why = "most failures are over in a moment; giving up at the first one loses the view";
    flixtube.called(&view, TRIES - 1, 5, why).await?;
    answers_meanwhile(&flixtube, &view).await?;
    let calls = flixtube.called(&view, TRIES, 5, why).await?;
    let times: Vec<_> = calls.iter().map(|call| call.at).collect();
    pauses_grow(&lab, &times)?;
    ends_recorded_once(&flixtube, &view).await
}

/// The service answers while a view waits 400 ms for its last call.
async fn answers_meanwhile(flixtube: &FlixTube, view: &str) -> Outcome {
    let span = flixtube.lab.span();
    flixtube.video.get("/health").await?;
    let span = span.end();
    // A blocked thread makes the last call first.
    let waits = flixtube.calls_for(view) < TRIES;
    let limit = Duration::from_millis(if waits { 330 } else { 250 });
    let observed = format!("it answered after {} ms", span.elapsed().as_millis());
    let standstill = fail(
        "GET /health answered at once, while a view waits for its next call",
        observed,
    );
    let why = "a pause that blocks the thread stops every other viewer (`std::thread::sleep`)";
    span.at_most(limit, standstill.because(why).hole(5))
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
        expect(gap.elapsed() > pause.mul_f64(0.85))
            .or(&wrong.expected, &wrong.observed)
            .hole(5)
            .because(short)?;
        let long = "a view that waits is lost when this service is killed";
        gap.at_most(pause * 2, wrong.because(long).hole(5))?;
    }
    Ok(())
}

/// Loses an answer, then delays one.
pub async fn response_lost(lab: Lab) -> Outcome {
    const LIMIT: Duration = Duration::from_millis(500);
    let flixtube = FlixTube::open(&lab, LIMIT).await?;
    for (answer, why) in [
        (
            Answer::Lost,
            "without an answer the caller cannot know whether the view was recorded",
        ),
        (
            Answer::Late(AMPLE),
            "a call that timed out may have been recorded, or not",
        ),
    ] {
        flixtube.relay.next([answer]);
        let view = flixtube.watch().await?;
        let calls = flixtube.called(&view, 2, 5, why).await?;
        if let Some(timed_out) = calls[0].given_up {
            pauses_grow(&lab, &[timed_out, calls[1].at])?;
        }
        ends_recorded_once(&flixtube, &view).await?;
    }
    Ok(())
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

/// Lets no call succeed: each kind of failure counts as one of four calls.
pub async fn given_up(lab: Lab) -> Outcome {
    // Four calls that take their time: a limit on them all together ends before they do.
    const SLOW: Duration = Duration::from_millis(350);
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    let busy = [503, 429, 500, 408].map(Answer::Status);
    let late = [Answer::Late(AMPLE); TRIES];
    let (turned_away, refused, busy, late) = tokio::join!(
        turned_away(&flixtube),
        refused_at_once(&flixtube),
        each_call_counts(&flixtube, "busy", AMPLE, busy),
        each_call_counts(&flixtube, "slow", SLOW, late),
    );
    // The first two tell whether there are four calls at all.
    turned_away.and(refused).and(busy).and(late)
}

/// The relay accepts each connection and closes it: the journal has each try of two views.
async fn turned_away(flixtube: &FlixTube) -> Outcome {
    flixtube.relay.turn_away();
    let views = [flixtube.watch().await?, flixtube.watch().await?];
    four_calls_each(flixtube, &views).await?;
    // Both views are told at the same time. From the later call of one round to the later call of the
    // next is never less than a pause, whichever view was held up.
    let times = flixtube.turned_away().into_iter();
    let times: Vec<_> = times.skip(1).step_by(2).collect();
    pauses_grow(&flixtube.lab, &times)?;
    flixtube.video.stops_well().await?;
    views
        .iter()
        .try_for_each(|view| logged_once(flixtube, view))
}

/// Waits until both views are given up or get too many calls.
async fn four_calls_each(flixtube: &FlixTube, views: &[String; 2]) -> Outcome {
    const ALL: usize = 2 * TRIES;
    let calls = || flixtube.turned_away().len();
    let logged = |view: &&String| !complaints(&flixtube.video, view).is_empty();
    let expected =
        "four calls for each of two views, without an answer, then a line of level error";
    let why = "a view that is never given up takes memory, and no operator hears of it";
    let over = async || {
        let lines = views.iter().filter(logged).count();
        let instead = || format!("{} calls, and {lines} such line(s)", calls());
        Ok(Seen::when(calls() > ALL || lines == views.len(), instead).hole(5))
    };
    let lab = &flixtube.lab;
    lab.eventually_within(SOON, expected, why, over).await?;
    let many = "retries that do not end are load on a history that has just come back";
    let ended = expect(calls() <= ALL).or(expected, format!("{} calls", calls()));
    ended.hole(5).because(many)?;
    let few = "most failures are over in a moment; giving up too early loses the view";
    let enough = expect(calls() == ALL).or(expected, format!("{} calls in all", calls()));
    match enough.hole(5).because(few) {
        // Not one was retried: perhaps only this kind of failure is not.
        none if calls() == views.len() => flixtube.sorted(none).await,
        some => some,
    }
}

/// The history of another `video-streaming`, called `name`, gives these `answers` again and again.
async fn each_call_counts(
    flixtube: &FlixTube,
    name: &str,
    limit: Duration,
    answers: [Answer; TRIES],
) -> Outcome {
    let history = flixtube.another_history(name)?;
    history.next([answers; 4].concat());
    let video = flixtube.another_video(name, &history.url(), limit).await?;
    let view = watch(&video).await?;
    let calls = || flixtube.requests(name);
    let expected = "four calls for a view, of which each fails, then a line of level error";
    let why = "a view that is lost without a line is missed by nobody, for months";
    let over = async || {
        let logged = !complaints(&video, &view).is_empty();
        let instead = || format!("{} call(s), and no such line", calls());
        Ok(Seen::when(calls() > TRIES || logged, instead).hole(3))
    };
    let lab = &flixtube.lab;
    lab.eventually_within(SOON, expected, why, over).await?;
    four_calls(calls(), &answers, expected)
}

/// A view got `calls` calls, which failed with these `answers`; each counts as one of four.
fn four_calls(calls: usize, answers: &[Answer], expected: &str) -> Outcome {
    let many =
        "a call that does not count is repeated without end, on a history that is overloaded";
    let ended = expect(calls <= TRIES).or(expected, format!("{calls} calls"));
    ended.hole(5).because(many)?;
    // A kind of failure that was retried before is sorted right.
    let sorted = answers[..calls.saturating_sub(1)].contains(&answers[calls.saturating_sub(1)]);
    let few = "most failures are over in a moment; giving up too early loses the view";
    let enough = expect(calls == TRIES).or(expected, format!("{calls} call(s), then the line"));
    enough.hole(if sorted { 5 } else { 6 }).because(few)
}

/// No history listens: a refused connection leaves no trace on the wire, but the tries take time.
async fn refused_at_once(flixtube: &FlixTube) -> Outcome {
    const PAUSES: Duration = Duration::from_millis(650);
    let lab = &flixtube.lab;
    let nobody = lab.service("nobody").await?;
    let video = flixtube
        .another_video("alone", &nobody.url(""), AMPLE)
        .await?;
    let tries = lab.span();
    let view = watch(&video).await?;
    let expected = "a refused connection tried again: pauses of 100 ms, 200 ms and 400 ms";
    let why = "a history that restarts refuses connections for a moment";
    lab.eventually_within(SOON, expected, why, async || {
        let over = !complaints(&video, &view).is_empty();
        Ok(Seen::when(over, || "no line of level error".to_owned()))
    })
    .await?;
    let took = tries.elapsed();
    let tried = expect(took >= PAUSES)
        .or(
            expected,
            format!("given up {} ms after the film", took.as_millis()),
        )
        .hole(5)
        .because(why);
    flixtube.sorted(tried).await
}

/// Answers with 4xx, and with a redirect.
pub async fn history_400(lab: Lab) -> Outcome {
    let flixtube = FlixTube::open(&lab, AMPLE).await?;
    flixtube.relay.next([429, 408].map(Answer::Status));
    let busy = flixtube.watch().await?;
    let why = "429 `too many requests` and 408 `timeout`: the same call may succeed later";
    let calls = flixtube.called(&busy, 3, 6, why).await?;
    let times: Vec<_> = calls.iter().map(|call| call.at).collect();
    pauses_grow(&lab, &times)?;
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
        refusal_logged(&flixtube, view).await?;
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
