//! The checks of chapter 02: a message that the broker confirmed is processed, whatever fails.

mod broker;
mod consumer;
mod flixtube;
mod holes;
mod producer;

use anyhow::Context;
use check::check;
use check::run::NO_HOLE;
use check::wiretap::{ConnectionEvent, Method};
use check::{Checks, Lab, Outcome, Seen, Service, Stop, expect};
use holes::hole_for;
use lapin::BasicProperties;
use rand::RngExt;
use serde_json::{Value, json};

use broker::{broker_restart, late_broker, silent_broker};
use consumer::{
    ack_after_record, broken_message, cancelled, consumer_down, delivered, killed_consumer,
    prefetch, sigterm,
};
use flixtube::{
    USERS, VIEWED, all_known, all_recorded, consuming_history, save_all, save_many, views, watch,
    watch_all,
};
use producer::{bad_request, link_cut, published, queue_gone, refused, returned};

check::main!(Checks {
    broker: true,
    hole_for,
    all: vec![
        check!(published, HOLE 1, "the message of a watched video waits in queue `viewed`"),
        check!(bad_request, HOLE 1, "a bad request publishes nothing"),
        check!(durable, HOLE 2, "the queue is durable, and nothing else"),
        check!(delivered, HOLE 3, "the broker delivers a waiting message to the history"),
        check!(prefetch, HOLE 3, "a consumer sets a prefetch before it consumes"),
        check!(recorded, HOLE 4, "a watched video reaches the history"),
        check!(saved_user, HOLE 4, "a saved user reaches the session service"),
        check!(other_clients, HOLE 4, "a service in another language can join in"),
        check!(consumer_down, HOLE 4, "messages wait for a stopped consumer"),
        check!(killed_consumer, HOLE 4, "a killed consumer loses nothing"),
        check!(late_broker, HOLE 4, "services started before the broker wait for it").early(),
        check!(link_cut, HOLE 5, "a cut link loses no view that was answered with 200"),
        check!(queue_gone, HOLE 5, "an unroutable view is never answered with 200"),
        check!(returned, HOLE 5, "among 20 viewers at once, a returned view gets no 200"),
        check!(refused, HOLE 5, "a view that the broker does not confirm gets no 200"),
        check!(broken_message, HOLE 6, "a broken message does not block the next one"),
        check!(ack_after_record, HOLE 7, "no message is acked before it is recorded"),
        check!(cancelled, HOLE 7, "a consumer whose queue was deleted consumes again"),
        check!(sigterm, HOLE 7, "on SIGTERM a consumer finishes its current message").early(),
        check!(silent_broker, HOLE 7, "a connection attempt that times out leaves nothing behind")
            .patient(),
        check!(broker_restart, HOLE 7, "a broker restart loses nothing; both services reconnect")
            .patient(),
    ],
});

async fn recorded(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let ids = watch_all(&lab, &streaming, 3).await?;
    let expected = "all 3 views recorded under the ids that their viewers were given";
    all_recorded(&lab, &history, expected, &ids).await?;
    lab.settled(VIEWED).await?;
    connection_has_a_name(&lab)
}

fn connection_has_a_name(lab: &Lab) -> Outcome {
    let opened = lab.journal().methods("history", Method::ConnectionStartOk);
    let name = opened.first().map(|frame| &frame.args["connection_name"]);
    let name = name.and_then(Value::as_str);
    let observed = name.map_or("it has no name".into(), |name| format!("`{name}`"));
    expect(name == Some("history"))
        .or("history's connection is called `history`", observed)
        .hole(NO_HOLE)
        .because("the broker's list of connections otherwise shows only ports")
}

async fn saved_user(lab: Lab) -> Outcome {
    let sessions = lab.start("session-management").await?;
    let users = lab.start("user-management").await?;
    let number = lab.random(|chance| chance.random::<u32>());
    let names = [
        "Ada",
        "Zoë \"O'Brien\" 🎬",
        "a\u{0}b\n\\",
        &format!("user {number}"),
    ];
    let ids = save_all(&lab, &users, &names).await?;
    let expected = "all saved users known to the session service";
    all_known(&lab, &sessions, expected, &names, &ids).await?;
    keeps_nothing(&lab, &users, &sessions).await
}

/// How many users each round of [`keeps_nothing`] saves.
const MANY: usize = 40;

/// Neither side may keep a connection or a channel for each user.
async fn keeps_nothing(lab: &Lab, users: &Service, sessions: &Service) -> Outcome {
    let work = async |count| {
        save_many(users, count).await?;
        lab.settled(USERS).await
    };
    let services = [users, sessions];
    let frugal = lab.frugal(&services, MANY, "saved users", work).await;
    frugal.map_err(|stop| match stop {
        Stop::Failed(leak) if leak.expected.starts_with(&users.name()) => leak.hole(5).into(),
        other => other,
    })?;
    let opened = &ConnectionEvent::Opened;
    let opened = lab.journal().connection_count(&users.name(), opened);
    expect(opened <= MANY / 5)
        .or(
            format!("one connection for {} users, or a few", MANY * 2),
            format!("user-management opened {opened}"),
        )
        .hole(NO_HOLE)
        .because("each connection costs several round trips: open it once, and keep it")
}

async fn other_clients(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    queue_is_durable_only(&lab).await?;
    bare_view_is_recorded(&lab, &history).await?;
    empty_ids_are_no_ids(&lab, &history).await
}

async fn durable(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    watch(&lab, &streaming).await?;
    queue_is_durable_only(&lab).await
}

async fn queue_is_durable_only(lab: &Lab) -> Outcome {
    let queue = lab.queue(VIEWED).await?.context("no queue")?;
    let bare = queue.arguments.as_object().is_none_or(|all| all.is_empty());
    let described = format!(
        "durable: {}, auto_delete: {}, exclusive: {}, arguments: {}",
        queue.durable, queue.auto_delete, queue.exclusive, queue.arguments
    );
    expect(queue.durable)
        .or("queue `viewed` is durable", &described)
        .hole(2)
        .because("a restarted broker has forgotten a transient queue, and its messages with it")?;
    expect(!queue.auto_delete && !queue.exclusive && bare)
        .or("queue `viewed` is durable and nothing else", &described)
        .hole(2)
        .because(
            "a client that declares it otherwise gets 406 PRECONDITION_FAILED and a closed channel",
        )
}

/// Declares the queue and publishes without any property, as the Node.js forerunner does.
async fn bare_view_is_recorded(lab: &Lab, history: &Service) -> Outcome {
    lab.declare_queue(VIEWED).await?;
    let body = json!({ "videoPath": "./videos/from-node.mp4" }).to_string();
    let view = (body, BasicProperties::default());
    lab.publish(VIEWED, [view]).await?;
    let expected = "a view that another client publishes is recorded";
    let why = "field names and queue are the contract between services, not the language";
    lab.eventually(expected, why, async || {
        let acks = lab.journal().methods("history", Method::BasicAck);
        let seen = history.get("/history").await?.json();
        let path = &seen["history"][0]["videoPath"];
        let recorded = path == "./videos/from-node.mp4";
        expect(recorded || acks.is_empty())
            .or(expected, "history acked it (basic.ack) and has no row")
            .because("an ack tells the broker to forget: the work must be done by then")?;
        Ok(Seen::when(recorded, || seen.to_string()))
    })
    .await
}

/// Some clients send an empty id where they have none.
async fn empty_ids_are_no_ids(lab: &Lab, history: &Service) -> Outcome {
    let nameless = ["./videos/one.mp4", "./videos/two.mp4"].map(|path| {
        let properties = BasicProperties::default().with_message_id("".into());
        (json!({ "videoPath": path }).to_string(), properties)
    });
    let before = views(history).await?.len();
    lab.publish(VIEWED, nameless).await?;
    let expected = "two views with an empty message_id are recorded, as views without an id are";
    let why = "two views with the same empty id are not the same view";
    lab.eventually(expected, why, async || {
        let seen = views(history).await?.len().saturating_sub(before);
        Ok(Seen::when(seen == 2, || format!("{seen} of 2 recorded")))
    })
    .await
}
