//! What this chapter's services must be able to take.

use anyhow::Context;
use check::check;
use check::{Checks, Lab, Outcome, Seen, Topic, expect};
use lapin::BasicProperties;

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Confirm | Topic::Routing | Topic::Durability => 1,
        Topic::Consume | Topic::NoAck | Topic::Settle => 2,
    },
    all: vec![
        check!(published, HOLE 1, "each greeting of a producer that ends well is in the queue"),
        check!(recorded, HOLE 2, "each greeting is recorded once, then acked"),
    ],
});

/// The queue from producer to consumer.
const GREETINGS: &str = "greetings";

async fn published(lab: Lab) -> Outcome {
    let producer = lab
        .instance("producer", &["producer", "--count", "3"])
        .await?;
    let why = "exit code 0 says that the broker has confirmed each greeting";
    producer.ends_well(why).await?;
    let ready = lab.queue(GREETINGS).await?.map_or(0, |queue| queue.ready);
    expect(ready == 3)
        .or(
            "3 greetings wait in queue `greetings`",
            format!("{ready} wait"),
        )
        .because("a confirmed message is in its queue until a consumer acks it")
}

async fn recorded(lab: Lab) -> Outcome {
    let consumer = lab.service("consumer").await?;
    consumer.launch().await?;
    lab.consumers(GREETINGS, 1).await?;
    let ids = ["one", "two", "three"].map(str::to_owned);
    let greeting = |id: &String| {
        let properties = BasicProperties::default().with_message_id(id.as_str().into());
        (format!("greeting {id}"), properties)
    };
    lab.publish(GREETINGS, ids.iter().map(greeting)).await?;
    let recorded = async || {
        let rows = consumer.rows("greetings")?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    };
    lab.each_once(
        "3 greetings recorded, each once",
        Some(GREETINGS),
        &ids,
        recorded,
    )
    .await?;
    let why = "an unacked message is redelivered when the consumer's connection ends";
    lab.eventually("queue `greetings` is empty", why, async || {
        let queue = lab.queue(GREETINGS).await?.context("no queue")?;
        let (ready, unacked) = (queue.ready, queue.unacked);
        Ok(Seen::when(ready + unacked == 0, || {
            format!("{ready} wait in it, {unacked} are delivered and not acked")
        }))
    })
    .await
}
