//! What the producer's side must be able to take.

use std::time::Duration;

use awc::http;
use check::wiretap::{ConfirmRelay, Frame, Method, Side};
use check::{Lab, Outcome, PATIENCE, Response, Seen, Service, expect, fate};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use rand::RngExt;
use serde_json::json;
use tokio::task::JoinSet;

use super::flixtube::{VIEWED, all_recorded, consuming_history, told, watch};

pub async fn link_cut(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = vec![watch(&streaming).await?];
    let confirms = !lab
        .journal()
        .methods("video-streaming", Method::ConfirmSelect)
        .is_empty();
    for round in 0..6 {
        // The message lost on its way there, or the confirm on its way back, if there is one.
        let lost = round < 2 || (round > 3 && lab.random(|chance| chance.random::<bool>()));
        let lost = lost || !confirms;
        let tap = streaming.tap();
        if lost {
            tap.cut_before(Side::Client, Method::BasicPublish);
        } else {
            tap.cut_before(Side::Server, Method::BasicAck);
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
    delete_queue(&lab).await?;
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
    expect(!answer.ok() || kept)
        .or("no 200 for a view that no queue takes", observed)
        .because(
            "a message without a queue is confirmed too; with `mandatory` it is sent back first",
        )?;
    publishes_again(&lab, &streaming).await
}

/// Waits until a video can be watched again.
async fn publishes_again(lab: &Lab, streaming: &Service) -> Outcome {
    lab.eventually(
        "video-streaming declares the queue again and publishes",
        "somebody deletes the wrong queue sooner or later",
        async || {
            let answer = streaming.get("/video").await?;
            Ok(Seen::when(answer.ok(), || told(streaming, &answer)))
        },
    )
    .await
}

async fn delete_queue(lab: &Lab) -> Outcome {
    let connection = lab.connect().await?;
    let deleted = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(VIEWED.into(), options).await
    };
    deleted.await.map_err(anyhow::Error::from)?;
    lab.journal().note(format!("queue `{VIEWED}` deleted"));
    Ok(())
}

async fn declare_queue(lab: &Lab) -> Outcome {
    let connection = lab.connect().await?;
    let declared = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let none = FieldTable::default();
        channel.queue_declare(VIEWED.into(), options, none).await
    };
    declared.await.map_err(anyhow::Error::from)?;
    lab.journal().note(format!("queue `{VIEWED}` declared"));
    Ok(())
}

/// How many viewers there are at once in [`returned`].
const VIEWERS: u64 = 20;

/// How often that is tried: a publisher that trusts the confirm into which lapin puts a
/// returned message is right by chance one time in twenty.
const ROUNDS: usize = 3;

/// How long the viewers' publishes may take to be under way together. A publisher that sends
/// one at a time never has them so.
const TOGETHER: Duration = Duration::from_millis(700);

pub async fn returned(lab: Lab) -> Outcome {
    let streaming = lab.service("video-streaming").await?;
    let relay = ConfirmRelay::open(streaming.tap().port()).await?;
    let streaming = streaming.through(relay.port());
    streaming.start().await?;
    for _ in 0..ROUNDS {
        publishes_again(&lab, &streaming).await?;
        let answers = first_returned(&lab, &streaming, &relay).await?;
        let returned = lab
            .journal()
            .methods("video-streaming", Method::BasicReturn);
        let returned: Vec<&str> = returned.iter().filter_map(Frame::message_id).collect();
        let promised = answers.iter().filter(|answer| answer.ok());
        let mut promised = promised.filter_map(|answer| answer.view_id.as_deref());
        let wrong = promised.find(|id| returned.contains(id));
        let told = wrong.map(|id| fate(lab.journal(), id).observed);
        expect(wrong.is_none())
.or("20 viewers at once, the view of one is returned (basic.return): no 200 for that one", format!("200, and {}", told.unwrap_or_default()))
.because("lapin puts a returned message into whichever confirm of its channel comes next")?;
    }
    Ok(())
}

/// Has 20 videos watched at once: the view of the first finds no queue, the others do, and
/// the broker confirms all of them together.
async fn first_returned(
    lab: &Lab,
    streaming: &Service,
    relay: &ConfirmRelay,
) -> Outcome<Vec<Response>> {
    let returns = || {
        lab.journal()
            .methods("video-streaming", Method::BasicReturn)
            .len()
    };
    let mut viewers = JoinSet::new();
    let mut view = || {
        let streaming = streaming.clone();
        viewers.spawn_local(async move { streaming.get("/video").await });
    };
    let (before, held) = (returns(), relay.held());
    relay.hold_acks();
    delete_queue(lab).await?;
    view();
    let why = "with `mandatory` the broker returns what no queue takes";
    lab.eventually("a view is returned (basic.return)", why, async || {
        Ok(Seen::when(returns() > before, || "it is not".to_owned()))
    })
    .await?;
    declare_queue(lab).await?;
    (1..VIEWERS).for_each(|_| view());
    let span = lab.span();
    let why = "the broker confirms each message";
    lab.eventually("20 views are published", why, async || {
        let all = relay.held() == held + VIEWERS || span.exceeds(TOGETHER);
        Ok(Seen::when(all, || "some are missing".to_owned()))
    })
    .await?;
    relay.release_acks();
    viewers.join_all().await.into_iter().collect()
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
            .send(http::Method::POST, path, "application/json", body)
            .await?;
        let shown: String = body.chars().take(20).collect();
        expect((400..500).contains(&answer.status))
            .or(
                format!("POST {path} with `{shown}` answers 4xx"),
                answer.summary(),
            )
            .because("the caller made the mistake, and has to hear of it")?;
    }
    let good = users.post("/users/save", &json!({ "name": "Ada" })).await?;
    expect(good.ok())
        .or("a good request after them answers 200", told(&users, &good))
        .because("nobody's bad request may harm the next caller")?;
    let published = lab
        .journal()
        .methods("user-management", Method::BasicPublish)
        .len();
    expect(published == 1)
        .or(
            "1 message published, for the good one",
            format!("{published} published"),
        )
        .because("consumers should not have to sort out what the producer let in")
}
