//! The network falls silent, and nobody is told.

use check::wiretap::Side;
use check::{Lab, Outcome, Seen};

use super::net::{
    MESSAGES, SHORT, TOPOLOGY, arrived, both_notice, called, consumer, consuming, effects,
    ends_well, producer, sent, unplug,
};

pub async fn cable_pulled(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    let consumer = consumer.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    consumer.launch().await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.launch().await?;
    effects(&lab, &consumer, 5).await?;
    unplug(&consumer);
    both_notice(&lab, &[&consumer]).await?;
    let why = "whoever sends must not depend on who is there to receive";
    lab.eventually("the producer goes on: the queue grows", why, async || {
        let depth = lab.queue(MESSAGES).await?.map_or(0, |queue| queue.ready);
        Ok(Seen::when(depth >= 30, || format!("{depth} ready")))
    })
    .await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    producer.terminate()?;
    let ids = ends_well(&lab, &producer).await?;
    let expected = "the cable is plugged in again: each confirmed message has its effect, once";
    arrived(&lab, &consumer, expected, &ids).await
}

pub async fn producers_cable(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let producer = producer(&lab, 50, &["--count", "200"]).await?;
    let producer = producer.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    producer.begin().await?;
    effects(&lab, &consumer, 5).await?;
    let calls = lab.journal().calls("producer").len();
    unplug(&producer);
    called(&lab, &producer, calls + 1).await?;
    producer.tap().restore();
    let ids = ends_well(&lab, &producer).await?;
    let expected = "the cable is plugged in again: all 200 messages are there, each once";
    arrived(&lab, &consumer, expected, &ids).await
}

pub async fn one_way(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mute = consumer(&lab, "mute", &[]).await?;
    let deaf = consumer(&lab, "deaf", &[]).await?;
    let mute = mute.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    let deaf = deaf.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    mute.launch().await?;
    deaf.launch().await?;
    lab.consumers(MESSAGES, 2).await?;
    mute.tap().black_hole(Side::Client);
    deaf.tap().black_hole(Side::Server);
    both_notice(&lab, &[&mute, &deaf]).await?;
    let ids = sent(&lab, 10).await?;
    mute.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    let expected = "whose words were lost is back, and works";
    arrived(&lab, &mute, expected, &ids).await?;
    deaf.tap().restore();
    lab.consumers(MESSAGES, 2).await
}
