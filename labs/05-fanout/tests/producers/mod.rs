//! What `video-streaming` must be able to take.

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, expect, fate};

use super::events::{VIEWED, listening, told, watch};

pub async fn nobody_bound(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    let answer = streaming.get("/video").await?;
    let id = answer.view_id.clone().unwrap_or_default();
    let observed = match answer.ok() {
        true => format!(
            "{}; {}",
            answer.summary(),
            fate(lab.journal(), &id).observed
        ),
        false => answer.summary(),
    };
    expect(answer.status == 503)
        .or("503 for a view that no queue takes", observed)
        .because(
            "what nobody is bound for is confirmed too; with `mandatory` it comes back first",
        )?;
    let returns = lab
        .journal()
        .methods("video-streaming", Method::BasicReturn)
        .len();
    expect(returns > 0)
        .or(
            "the broker sends the view back (basic.return)",
            format!("{returns} came back"),
        )
        .because("only with `mandatory` does the broker say that nobody is bound")?;
    expect(streaming.last_words(3).join(" ").contains(VIEWED))
        .or(
            format!("its log says that the view came back from `{VIEWED}`"),
            told(&streaming, &answer),
        )
        .because("503 tells the viewer to try again; what is wrong has to be told to ourselves")?;
    let history = listening(&lab, "history").await?;
    let ids = watch(&streaming, 1).await?;
    let expected = "the view that was answered with 200";
    history.gets_only(&lab, expected, &ids).await
}

pub async fn view_cut(lab: Lab) -> Outcome {
    let history = listening(&lab, "history").await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = watch(&streaming, 1).await?;
    let traps = [
        (Side::Client, Method::BasicPublish),
        (Side::Server, Method::BasicAck),
    ];
    for (from, method) in traps {
        let tap = streaming.tap();
        tap.cut_before(from, method);
        let expected = "after a cut, video-streaming connects again and publishes";
        let why = "a network fails now and then; a service has to get over it by itself";
        lab.eventually_within(PATIENCE, expected, why, async || {
            let answer = streaming.get("/video").await?;
            let ok = answer.ok() && tap.sprung();
            promised.extend(answer.view_id.clone().filter(|_| answer.ok()));
            Ok(Seen::when(ok, || told(&streaming, &answer)))
        })
        .await?;
    }
    let expected = "each view that was answered with 200";
    history.gets(&lab, expected, &promised).await
}
