//! What chapter 02's services must be able to take.

mod broker;
mod consumer;
mod flixtube;
mod producer;

use anyhow::Context;
use check::check;
use check::wiretap::Method;
use check::{Checks, Lab, Outcome, Seen, Topic, expect};
use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use rand::RngExt;
use serde_json::json;

use broker::{broker_restart, late_broker, silent_broker};
use consumer::{
    ack_after_record, broken_message, consumer_down, killed_consumer, prefetch, sigterm,
};
use flixtube::{VIEWED, all_known, all_recorded, consuming_history, save, views, watch_all};
use producer::{bad_request, link_cut, queue_gone, returned};

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Durability => 2,
        Topic::Confirm => 3,
        Topic::Publish | Topic::Routing => 4,
        Topic::NoAck => 5,
        Topic::Settle => 6,
        Topic::Consume => 7,
    },
    all: vec![
        check!(recorded, HOLE 4, "a watched video reaches the history"),
        check!(saved_user, HOLE 4, "a saved user reaches the session service"),
        check!(other_clients, HOLE 2, "a service in another language can join in"),
        check!(consumer_down, HOLE 6, "messages wait for a stopped consumer, in order"),
        check!(killed_consumer, HOLE 5, "a killed consumer loses nothing"),
        check!(ack_after_record, HOLE 7, "no message is acked before it is recorded"),
        check!(prefetch, HOLE 5, "a consumer takes no more than it can carry"),
        check!(broken_message, HOLE 6, "a broken message does not block the next one"),
        check!(link_cut, HOLE 4, "a success is never a message that was lost"),
        check!(queue_gone, HOLE 4, "a message that no queue takes is no success"),
        check!(returned, HOLE 4, "a returned message is never another viewer's success"),
        check!(late_broker, HOLE 1, "services started before the broker wait for it").early(),
        check!(silent_broker, HOLE 1, "a connection attempt that times out leaves nothing behind")
            .patient(),
        check!(broker_restart, HOLE 7, "a restarted broker: both go on, nothing is lost").early(),
        check!(bad_request, HOLE 4, "a bad request publishes nothing"),
        check!(sigterm, HOLE 7, "SIGTERM: the message in hand is finished first"),
    ],
});

async fn recorded(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let ids = watch_all(&streaming, 3).await?;
    let expected = "all 3 views recorded under the ids that their viewers were given";
    all_recorded(&lab, &history, expected, &ids).await?;

    let said = lab.journal().methods("history", Method::ConnectionStartOk);
    let name = said.first().map(|frame| &frame.args["connection_name"]);
    expect(name.is_some_and(|name| name == "history"))
        .or(
            "history's connection is called `history`",
            format!("{name:?}"),
        )
        .hole(1)
        .because("the broker's list of connections otherwise shows ports only")?;
    let published = lab
        .journal()
        .methods("video-streaming", Method::BasicPublish);
    for message in published.iter().filter_map(|frame| frame.message.as_ref()) {
        let kind = message.content_type.as_deref();
        expect(kind == Some("application/json") && message.persistent)
            .or(
                "each message says that it is JSON and is persistent (delivery_mode 2)",
                format!("content_type {kind:?}, persistent: {}", message.persistent),
            )
            .because("who reads it must know what it is, and a restart must not lose it")?;
    }
    Ok(())
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
    let mut ids = Vec::new();
    for name in names {
        ids.push(save(&users, name).await?);
    }
    let expected = "all saved users known to the session service";
    all_known(&lab, &sessions, expected, &names, &ids).await
}

async fn other_clients(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let queue = lab.queue(VIEWED).await?.context("no queue")?;
    let bare = queue.arguments.as_object().is_none_or(|all| all.is_empty());
    let described = format!(
        "durable: {}, auto_delete: {}, exclusive: {}, arguments: {}",
        queue.durable, queue.auto_delete, queue.exclusive, queue.arguments
    );
    expect(queue.durable && !queue.auto_delete && !queue.exclusive && bare)
        .or("queue `viewed` is durable and nothing else", described)
        .because("who declares it otherwise gets 406 PRECONDITION_FAILED and a closed channel")?;

    // As the Node.js forerunner does it: declare, and publish without any property.
    let channel = lab.connect().await?.create_channel().await;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let channel = channel.map_err(anyhow::Error::from)?;
    let declared = channel
        .queue_declare(VIEWED.into(), options, FieldTable::default())
        .await;
    declared.map_err(anyhow::Error::from)?;
    let body = json!({ "videoPath": "./videos/from-node.mp4" }).to_string();
    lab.publish(VIEWED, [(body, BasicProperties::default())])
        .await?;
    lab.eventually(
        "a view that another client publishes is recorded",
        "field names and queue are the contract between services, not the language",
        async || {
            let seen = history.get("/history").await?.json();
            let path = &seen["history"][0]["videoPath"];
            Ok(Seen::when(path == "./videos/from-node.mp4", || {
                seen.to_string()
            }))
        },
    )
    .await?;

    // Some clients send an empty id where they have none.
    let nameless = ["./videos/one.mp4", "./videos/two.mp4"].map(|path| {
        let properties = BasicProperties::default().with_message_id("".into());
        (json!({ "videoPath": path }).to_string(), properties)
    });
    lab.publish(VIEWED, nameless).await?;
    lab.eventually(
        "two views with an empty message_id are recorded, as views without an id are",
        "an empty id names nothing: the second view would pass for the first one",
        async || {
            let seen = views(&history).await?.len();
            Ok(Seen::when(seen == 3, || {
                format!("{} of 2 recorded", seen - 1)
            }))
        },
    )
    .await
}
