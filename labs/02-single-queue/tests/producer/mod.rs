//! What the producer's side must be able to take.

use awc::http::Method;
use kit::check::{Lab, Outcome, PATIENCE, Seen, fail, fate};
use kit::wiretap::Side;
use lapin::options::QueueDeleteOptions;
use rand::RngExt;
use serde_json::json;

use super::flixtube::{VIEWED, all_recorded, consuming_history, told, watch};

pub async fn link_cut(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = vec![watch(&streaming).await?];
    let confirms = !lab
        .journal()
        .methods("video-streaming", "confirm.select")
        .is_empty();
    for round in 0..6 {
        // The message lost on its way there, or the confirm on its way back, if there is one.
        let lost = round < 2 || (round > 3 && lab.random(|chance| chance.random::<bool>()));
        let lost = lost || !confirms;
        let tap = streaming.tap();
        if lost {
            tap.cut_before(Side::Client, "basic.publish");
        } else {
            tap.cut_before(Side::Server, "basic.ack");
        }
        let answer = streaming.get("/video").await?;
        if answer.ok() {
            promised.extend(answer.view_id);
        }
        lab.eventually_within(
            PATIENCE,
            "after a cut, video-streaming connects again and publishes",
            "a network fails now and then; a service has to get over it by itself",
            async || {
                let answer = streaming.get("/video").await?;
                let ok = answer.ok() && tap.sprung();
                if answer.ok() {
                    promised.extend(answer.view_id.clone());
                }
                Ok(Seen::when(ok, || answer.summary()))
            },
        )
        .await?;
    }
    let expected = "each view that was answered with 200 is recorded";
    all_recorded(&lab, &history, expected, &promised).await?;
    Ok(())
}

pub async fn queue_gone(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    watch(&streaming).await?;
    let connection = lab.connect().await?;
    let deleted = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(VIEWED.into(), options).await
    };
    deleted.await.map_err(anyhow::Error::from)?;
    lab.journal().note(format!("queue `{VIEWED}` deleted"));

    let answer = streaming.get("/video").await?;
    let kept = lab.queue(VIEWED).await?.is_some_and(|q| q.ready == 1);
    let id = answer.view_id.clone().unwrap_or_default();
    let observed = match answer.ok() {
        true => format!(
            "{}; {}",
            answer.summary(),
            fate(lab.journal(), &id).observed
        ),
        false => answer.summary(),
    };
    fail("no 200 for a view that no queue takes", observed)
        .because(
            "a message without a queue is confirmed too; with `mandatory` it is sent back first",
        )
        .unless(!answer.ok() || kept)?;
    lab.eventually(
        "video-streaming declares the queue again and publishes",
        "somebody deletes the wrong queue sooner or later",
        async || {
            let answer = streaming.get("/video").await?;
            Ok(Seen::when(answer.ok(), || told(&streaming, &answer)))
        },
    )
    .await
}

pub async fn bad_request(lab: Lab) -> Outcome {
    let users = lab.start("user-management").await?;
    let huge = json!({ "name": "x".repeat(100_000) }).to_string();
    let bad = [
        "",
        "name",
        "[]",
        "{}",
        r#"{"name": 5}"#,
        r#"{"name": ""}"#,
        &huge,
    ];
    for body in bad {
        let path = "/users/save";
        let answer = users
            .send(Method::POST, path, "application/json", body)
            .await?;
        let shown: String = body.chars().take(20).collect();
        fail(
            format!("POST {path} with `{shown}` answers 4xx"),
            answer.summary(),
        )
        .because("the caller made the mistake, and has to hear of it")
        .unless((400..500).contains(&answer.status))?;
    }
    let good = users.post("/users/save", &json!({ "name": "Ada" })).await?;
    fail("a good request after them answers 200", told(&users, &good))
        .because("nobody's bad request may harm the next caller")
        .unless(good.ok())?;
    let published = lab
        .journal()
        .methods("user-management", "basic.publish")
        .len();
    fail(
        "1 message published, for the good one",
        format!("{published} published"),
    )
    .because("consumers should not have to sort out what the producer let in")
    .unless(published == 1)
}
