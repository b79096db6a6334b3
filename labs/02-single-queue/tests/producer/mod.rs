//! What the producer answers when the link, the queue or the request is not as it should be.

use std::time::Duration;

use anyhow::Context;
use awc::http;
use check::run::NO_HOLE;
use check::wiretap::{ConfirmRelay, Frame, Held, Method, Side};
use check::{Lab, Outcome, PATIENCE, Response, Seen, Service, expect, fate, short};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::flixtube::{
    VIEWED, all_recorded, blame_declare, consuming_history, not_published, told, unpublished,
    waiting, watch, watch_again, watched,
};

/// The role of the producer of views.
const STREAMING: &str = "video-streaming";

pub async fn published(lab: Lab) -> Outcome {
    let streaming = lab.start(STREAMING).await?;
    let id = watch(&lab, &streaming).await?;
    let why = "the default exchange routes a message to the queue that its routing key names";
    waiting(&lab, 1, why).await?;
    let published = lab.journal().methods(STREAMING, Method::BasicPublish);
    let message = published.first().and_then(|frame| frame.message.as_ref());
    let message = message.context("the publish is not in the journal")?;
    let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
    let kind = message.content_type.as_deref();
    expect(kind == Some("application/json") && body["videoPath"].is_string())
        .or(
            "the message is JSON with a videoPath, and says so (content_type)",
            format!(
                "content_type {}, body `{}`",
                kind.unwrap_or("missing"),
                message.body
            ),
        )
        .because("a consumer must know the format of a body before it can read it")?;
    carries_the_id(&id, message.id.as_deref())?;
    expect(message.persistent)
        .or("a persistent message (delivery_mode 2)", "a transient one")
        .because("a restart of the broker loses each transient message of a classic queue")?;
    never_expires(&lab).await
}

async fn never_expires(lab: &Lab) -> Outcome {
    let taken = lab.take(VIEWED).await?;
    let expiration = taken
        .iter()
        .find_map(|view| view.properties.expiration().clone());
    let observed = expiration.as_ref().map_or_else(String::new, |after| {
        format!("property expiration: {after} ms")
    });
    expect(expiration.is_none())
        .or(
            "a view waits for its consumer as long as that takes",
            observed,
        )
        .because("the broker drops an expired message in silence")
}

fn carries_the_id(id: &str, seen: Option<&str>) -> Outcome {
    let seen_is = format!("its message_id is {}", seen.unwrap_or("missing"));
    expect(seen == Some(id))
        .or(format!("the message has the viewer's id, {id}"), seen_is)
        .because(
            "the history records a view under its message's id, so that a redelivery counts once",
        )
}

pub async fn link_cut(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start(STREAMING).await?;
    let mut promised = vec![watch(&lab, &streaming).await?];
    let selects = lab.journal().methods(STREAMING, Method::ConfirmSelect);
    let confirms = !selects.is_empty();
    for round in 0..6 {
        // The cut loses the message, or its confirm where the producer asked for confirms.
        let message = round < 2 || (round > 3 && lab.random(|chance| chance.random::<bool>()));
        match message || !confirms {
            true => streaming
                .tap()
                .cut_before(Side::Client, Method::BasicPublish),
            false => streaming.tap().cut_before(Side::Server, Method::BasicAck),
        }
        promised.push(reconnects(&lab, &streaming).await?);
    }
    let expected = "each view that was answered with 200 is recorded";
    let seen = all_recorded(&lab, &history, expected, &promised).await?;
    expect(seen.len() == promised.len())
        .or(
            format!("{} views recorded, however often each was tried", promised.len()),
            format!("{} recorded: some count twice, under two ids", seen.len()),
        )
        .hole(NO_HOLE)
        .because("the cut loses the confirm of a view that the broker has: under a new id, a retry counts twice")
}

/// Watches a video, which meets the cut, and tries again under the id of the first answer until
/// one is a 200. Returns the view.
async fn reconnects(lab: &Lab, streaming: &Service) -> Outcome<String> {
    let first = streaming.get("/video").await?;
    if let Some(view) = watched(&first) {
        return Ok(view);
    }
    let id = unpublished(&first)?;
    let expected = "after a cut, video-streaming connects again and publishes";
    let why = "every network fails now and then; a service must recover by itself";
    let again = lab.eventually_within(PATIENCE, expected, why, async || {
        let again = watch_again(lab, streaming, &id).await?;
        Ok(Seen::some(again, || first.summary()))
    });
    let again = again.await?;
    expect(again == id)
        .or(
            format!("a retry of view {} is the same view", short(&id)),
            format!("it is view {}", short(&again)),
        )
        .hole(NO_HOLE)
        .because("the broker may have the first one: under a new id, one view counts twice")?;
    Ok(id)
}

pub async fn queue_gone(lab: Lab) -> Outcome {
    let streaming = lab.start(STREAMING).await?;
    watch(&lab, &streaming).await?;
    lab.delete_queue(VIEWED).await?;
    let answer = streaming.get("/video").await?;
    // A producer may declare the queue before each publish.
    let kept = lab.queue(VIEWED).await?.is_some_and(|q| q.ready == 1);
    let fate = watched(&answer).map(|id| fate(lab.journal(), &id).observed);
    let observed = [Some(answer.summary()), fate].into_iter().flatten();
    let published = lab.journal().methods(STREAMING, Method::BasicPublish);
    let mandatory = published.iter().all(|publish| publish.flag("mandatory"));
    expect(!answer.ok() || kept)
        .or(
            "no 200 for a view that no queue takes",
            observed.collect::<Vec<_>>().join("; "),
        )
        .hole(if mandatory { 5 } else { 1 })
        .because(
            "the broker confirms an unroutable message, too; with `mandatory` it returns it first",
        )?;
    publishes_again(&lab, &streaming).await
}

/// Watches a video; expects no 200 for a view of which the broker has not said that it has it.
async fn promises_nothing(streaming: &Service, view: &str, why: &str) -> Outcome {
    let answer = streaming.get("/video").await?;
    expect(!answer.ok())
        .or(format!("no 200 for a view {view}"), answer.summary())
        .because(why)
}

pub async fn refused(lab: Lab) -> Outcome {
    let streaming = lab.start(STREAMING).await?;
    watch(&lab, &streaming).await?;
    lab.refuse(VIEWED).await?;
    let why = "a nack says that the broker does not have the message";
    promises_nothing(&streaming, "that the broker refuses (basic.nack)", why).await?;
    lab.accept(VIEWED).await?;
    publishes_again(&lab, &streaming).await?;

    let confirm = streaming.tap().hold(Side::Server, Method::BasicAck);
    let why = "until the confirm comes, nobody knows whether the broker has the message";
    promises_nothing(&streaming, "whose confirm (basic.ack) has not come", why).await?;
    drop(confirm);
    publishes_again(&lab, &streaming).await
}

/// Waits until a video can be watched again.
async fn publishes_again(lab: &Lab, streaming: &Service) -> Outcome {
    let expected = "video-streaming declares the queue again and publishes";
    let why = "sooner or later somebody deletes the wrong queue";
    lab.eventually(expected, why, async || {
        let answer = streaming.get("/video").await?;
        Ok(Seen::when(answer.ok(), || told(streaming, &answer)))
    })
    .await
    .map_err(|stop| blame_declare(lab, STREAMING, stop))
}

/// How many viewers there are at once in [`returned`].
const VIEWERS: u64 = 20;

/// How often [`returned`] tries: a publisher that trusts the confirm into which lapin puts a
/// returned message is right by chance one time in twenty.
const ROUNDS: usize = 3;

/// How long the viewers' publishes may take until all are in flight together. They never are
/// where the publisher sends one at a time.
const TOGETHER: Duration = Duration::from_millis(700);

pub async fn returned(lab: Lab) -> Outcome {
    let streaming = lab.service(STREAMING).await?;
    let relay = ConfirmRelay::open(streaming.tap().port())?;
    let streaming = streaming.through(relay.port());
    streaming.start().await?;
    for _ in 0..ROUNDS {
        publishes_again(&lab, &streaming).await?;
        let answers = first_returned(&lab, &streaming, &relay).await?;
        no_success_for_returned(&lab, &answers)?;
    }
    Ok(())
}

fn no_success_for_returned(lab: &Lab, answers: &[Response]) -> Outcome {
    let returns = lab.journal().methods(STREAMING, Method::BasicReturn);
    let returned: Vec<&str> = returns.iter().filter_map(Frame::message_id).collect();
    let mut promised = answers.iter().filter_map(watched);
    let wrong = promised.find(|id| returned.contains(&id.as_str()));
    let told = wrong.as_ref().map(|id| fate(lab.journal(), id).observed);
    expect(wrong.is_none())
        .or(
            "of 20 viewers at once, the one whose view is returned (basic.return) gets no 200",
            format!("200, and {}", told.unwrap_or_default()),
        )
        .because("lapin puts a returned message into whichever confirm of its channel comes next")
}

/// Has 20 videos watched at once: the view of the first finds no queue, the others do, and
/// the broker's confirms reach the service all together.
async fn first_returned(
    lab: &Lab,
    streaming: &Service,
    relay: &ConfirmRelay,
) -> Outcome<Vec<Response>> {
    let mut viewers = JoinSet::new();
    let mut view = || {
        let streaming = streaming.clone();
        viewers.spawn_local(async move { streaming.get("/video").await });
    };
    let (returns, held) = (returns(lab), relay.held());
    relay.hold_acks();
    let first = streaming.tap().hold(Side::Client, Method::BasicPublish);
    view();
    // Held: a publisher may declare the queue before each message.
    waits_on_the_wire(lab, &first).await?;
    lab.delete_queue(VIEWED).await?;
    first.release();
    returns_more_than(lab, returns).await?;
    lab.declare_queue(VIEWED).await?;
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

async fn waits_on_the_wire(lab: &Lab, publish: &Held) -> Outcome {
    let why = "a view is published before its viewer gets an answer";
    lab.eventually("a view is published (basic.publish)", why, async || {
        let seen = || "no view is published".to_owned();
        Ok(Seen::when(publish.reached(), seen).hole(1))
    })
    .await
}

/// How many views the broker has returned.
fn returns(lab: &Lab) -> usize {
    let returns = lab.journal().methods(STREAMING, Method::BasicReturn);
    returns.len()
}

async fn returns_more_than(lab: &Lab, before: usize) -> Outcome {
    let expected = "the broker returns a view (basic.return)";
    let why = "with `mandatory` the broker returns an unroutable message";
    lab.eventually(expected, why, async || {
        let returned = returns(lab) > before;
        Ok(Seen::when(returned, || "no view is returned".to_owned()).hole(1))
    })
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
        is_bad(&users, body).await?;
    }
    let good = users.post("/users/save", &json!({ "name": "Ada" })).await?;
    if !good.ok() {
        let expected = "a good request after them answers 200";
        let why = "a bad request must not harm the next caller";
        let failure = not_published(&lab, &users, expected, why, &good).await;
        return Err(failure.into());
    }
    let published = || {
        let journal = lab.journal();
        journal
            .methods("user-management", Method::BasicPublish)
            .len()
    };
    let why = "a user for whom the client got 200 must reach the other services";
    lab.eventually("the good user is published", why, async || {
        Ok(Seen::when(published() > 0, || {
            "nothing is published".into()
        }))
    })
    .await?;
    let published = published();
    expect(published == 1)
        .or(
            "1 message published, for the good one",
            format!("{published} published"),
        )
        .because("the producer must refuse bad input, or each consumer has to")
}

/// Sends a body that is not a user.
async fn is_bad(users: &Service, body: &str) -> Outcome {
    let (post, path, kind) = (http::Method::POST, "/users/save", "application/json");
    let answer = users.send(post, path, kind, body).await?;
    let shown: String = body.chars().take(20).collect();
    expect((400..500).contains(&answer.status))
        .or(
            format!("POST {path} with `{shown}` answers 4xx"),
            answer.summary(),
        )
        .because("4xx tells the caller that the request itself is wrong")
}
