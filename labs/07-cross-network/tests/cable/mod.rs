//! Checks in which the network falls silent, and neither end is told.

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, expect};

use super::net::{
    MESSAGES, SHORT, TOPOLOGY, all_confirmed, attempts, both_notice, consuming, each_once,
    impatient_consumer, producer, sent, stopped, tries, unplug, working,
};

pub async fn cable_pulled(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = impatient_consumer(&lab, "consumer").await?;
    consumer.launch().await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.launch().await?;
    working(&lab, &consumer, 5).await?;
    unplug(&consumer);
    both_notice(&lab, &[&consumer]).await?;
    let why = "a producer must not depend on whether a consumer is connected";
    let expected = "the producer goes on, and the queue grows";
    lab.eventually(expected, why, async || {
        let depth = lab.queue(MESSAGES).await?.map_or(0, |queue| queue.ready);
        Ok(Seen::when(depth >= 30, || format!("{depth} ready")))
    })
    .await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    let ids = stopped(&lab, &producer).await?;
    let expected = "the cable is plugged in again: each confirmed message has its effect once";
    each_once(&lab, &consumer, expected, &ids).await
}

pub async fn producers_cable(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let producer = producer(&lab, 50, &["--count", "200"]).await?;
    let producer = producer.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    producer.begin().await?;
    working(&lab, &consumer, 5).await?;
    // A message is in the queue, and its confirm is lost with the cable.
    let lost = producer.tap().hold(Side::Server, Method::BasicAck);
    let why = "the fault must hit a producer that works";
    lab.eventually("a message is confirmed", why, async || {
        Ok(Seen::when(lost.reached(), || "not yet".to_owned()))
    })
    .await?;
    let before = attempts(&lab, &producer);
    unplug(&producer);
    tries(&lab, &producer, before + 1).await?;
    // The next message is lost on its way.
    producer
        .tap()
        .cut_before(Side::Client, Method::BasicPublish);
    producer.tap().restore();
    drop(lost);
    let ids = all_confirmed(&lab, &producer).await?;
    expect(ids.len() == 200)
        .or("the producer publishes 200 messages (--count)", ids.len())
        .because("it must go on where the cut has stopped it")?;
    let expected = "the cable is plugged in again: each of 200 messages has its effect once";
    each_once(&lab, &consumer, expected, &ids).await
}

pub async fn one_way(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mute = impatient_consumer(&lab, "mute").await?;
    let deaf = impatient_consumer(&lab, "deaf").await?;
    mute.launch().await?;
    deaf.launch().await?;
    lab.consumers(MESSAGES, 2).await?;
    mute.tap().black_hole(Side::Client);
    deaf.tap().black_hole(Side::Server);
    both_notice(&lab, &[&mute, &deaf]).await?;
    let ids = sent(&lab, 10).await?;
    mute.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    let expected = "the consumer whose frames were lost works again";
    each_once(&lab, &mute, expected, &ids).await?;
    deaf.tap().restore();
    lab.consumers(MESSAGES, 2).await
}
