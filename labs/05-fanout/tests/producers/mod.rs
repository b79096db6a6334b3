//! Which faults `video-streaming` must survive, and what its 200 promises.

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Response, Seen, Service, expect, fate};

use super::events::{ROW, VIEWED, at_hole, both, listening, watch, watched, with_log};

pub async fn nobody_bound(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    let answer = streaming.get("/video").await?;
    is_refused(&lab, &answer)?;
    is_returned(&lab, &streaming, &answer)?;
    let history = listening(&lab, "history").await?;
    let ids = watch(&lab, &streaming, 1).await?;
    let expected = "the view that was answered with 200";
    history.gets_only(&lab, expected, &ids).await
}

fn is_refused(lab: &Lab, answer: &Response) -> Outcome {
    let id = answer.header("view-id").unwrap_or_default();
    let mut observed = answer.summary();
    if answer.ok() {
        observed += &format!("; {}", fate(lab.journal(), id).observed);
    }
    expect(answer.status == 503)
        .or("503 for a view that no queue takes", observed)
        .because("the broker confirms an unroutable message too; with `mandatory` it returns it")
}

fn is_returned(lab: &Lab, streaming: &Service, answer: &Response) -> Outcome {
    let returns = lab
        .journal()
        .methods("video-streaming", Method::BasicReturn)
        .len();
    expect(returns > 0)
        .or(
            "the broker returns the view (basic.return)",
            "no basic.return",
        )
        .because("the broker returns an unroutable message only with `mandatory`")?;
    expect(streaming.last_words(3).join(" ").contains(VIEWED))
        .or(
            format!("its log says that the view came back from `{VIEWED}`"),
            with_log(streaming, answer),
        )
        .because("503 tells the viewer to try again; the log tells the operator what is wrong")
}

pub async fn view_cut(lab: Lab) -> Outcome {
    let viewers = both(&lab, ["history", "recommendations"]);
    let (viewers, streaming) = tokio::try_join!(viewers, lab.start("video-streaming"))?;
    let [history, recommendations] = viewers;
    let mut promised = watch(&lab, &streaming, 1).await?;
    let traps = [
        (Side::Client, Method::BasicPublish),
        (Side::Server, Method::BasicAck),
    ];
    for (from, method) in traps {
        let tap = streaming.tap();
        tap.cut_before(from, method);
        let expected = "after a cut, video-streaming connects again and publishes";
        let why = "networks fail now and then; a service must reconnect by itself";
        lab.eventually_within(PATIENCE, expected, why, async || {
            let answer = streaming.get("/video").await?;
            promised.extend(watched(&answer));
            let ok = answer.ok() && tap.sprung();
            Ok(Seen::when(ok, || with_log(&streaming, &answer)))
        })
        .await?;
    }
    let expected = "each view that was answered with 200";
    history.gets(&lab, expected, &promised).await?;
    at_hole(ROW, recommendations.gets(&lab, expected, &promised).await)
}
