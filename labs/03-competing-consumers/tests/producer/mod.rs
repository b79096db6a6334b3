//! What a producer must be able to do and to take.

use std::collections::BTreeSet;
use std::time::Duration;

use check::Exit;
use check::wiretap::{ConfirmRelay, Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail, fate};
use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::jobs::{MESSAGES, ends_well, send};

pub async fn sent(lab: Lab) -> Outcome {
    let ids = send(&lab, "producer", 20, "..").await?;
    let unlike: BTreeSet<_> = ids.iter().filter(|id| *id != "?").collect();
    expect(unlike.len() == 20)
        .or(
            "20 jobs with 20 different message_ids",
            format!("{} different ones", unlike.len()),
        )
        .because("by its id a worker knows a job that it has done already")?;
    let queue = lab.queue(MESSAGES).await?;
    expect(
        queue
            .as_ref()
            .is_some_and(|queue| queue.durable && !queue.exclusive),
    )
    .or(
        "a durable queue `messages`, also when the producer is gone",
        queue.as_ref().map_or("no such queue".to_owned(), |queue| {
            format!("durable: {}, exclusive: {}", queue.durable, queue.exclusive)
        }),
    )
    .because("it keeps the jobs while nobody is connected, and while the broker starts again")?;
    let waiting = lab.take(MESSAGES).await?;
    let good = waiting.iter().filter(|message| {
        *message.properties.delivery_mode() == Some(2) && message.data.ends_with(b"..")
    });
    let good = good.count();
    expect(good == 20)
        .or(
            "20 persistent jobs wait in queue `messages` once the producer has ended",
            format!(
                "{} wait, {good} of them persistent, with their text",
                waiting.len()
            ),
        )
        .because("a producer that ends with exit code 0 has the broker's word for each job")?;

    let slow = ["producer", "--rate", "20", "--count", "5"];
    let slow = lab.instance("slow", &slow).await?;
    ends_well(&slow).await?;
    let publishes = |frame: &Frame| frame.service == "slow" && frame.method == Method::BasicPublish;
    let times = lab.journal().times(publishes);
    let span = lab.between(
        *times.first().unwrap_or(&0.0),
        *times.last().unwrap_or(&0.0),
    );
    let failure = fail(
        "5 jobs at 20 a second, 0.2 s from the first to the last",
        format!("{} jobs in {:.2?}", times.len(), span.elapsed()),
    )
    .because("--rate says how many jobs come in a second");
    failure.clone().unless(times.len() == 5)?;
    span.at_least(Duration::from_millis(100), failure)
}

pub async fn burst(lab: Lab) -> Outcome {
    let arguments = ["producer", "--burst", "--count", "50"];
    let producer = lab.instance("producer", &arguments).await?;
    let relay = ConfirmRelay::open(producer.tap().port()).await?;
    let producer = producer.through(relay.port());
    // No confirm comes back while it sends: so only a program that needs one stops early.
    relay.hold_acks();
    producer.begin().await?;
    lab.eventually_within(
        Duration::from_secs(3),
        "half of 50 jobs are on their way before the first confirm is back",
        "a producer that awaits each confirm sends one job in each round trip",
        async || {
            let sent = relay.held();
            Ok(Seen::when(sent >= 25, || {
                format!("{sent} sent, then it waited for a confirm")
            }))
        },
    )
    .await?;
    relay.release_acks();
    let exit = producer.finished().await?;
    expect(exit == Exit::Code(0))
        .or("exit code 0", exit.to_string())
        .because("the broker has confirmed each job")
}

pub async fn producer_cut(lab: Lab) -> Outcome {
    let slow = ["producer", "--rate", "50", "--count", "3"];
    let slow = lab.instance("slow", &slow).await?;
    // Here the job is lost on its way.
    slow.tap().cut_before(Side::Client, Method::BasicPublish);
    ends_well(&slow).await?;
    let burst = ["producer", "--burst", "--count", "30"];
    let burst = lab.instance("burst", &burst).await?;
    // And here the first confirm is, and with it all that come after it.
    burst.tap().cut_before(Side::Server, Method::BasicAck);
    ends_well(&burst).await?;
    let waiting = lab.take(MESSAGES).await?;
    let arrived = waiting.iter().filter_map(|message| {
        let id = message.properties.message_id().as_ref()?;
        Some(id.to_string())
    });
    let arrived: BTreeSet<_> = arrived.collect();
    expect(arrived.len() >= 33)
        .or(
            "33 jobs in queue `messages`, now that both producers have ended with exit code 0",
            format!("{} jobs", arrived.len()),
        )
        .because(
            "what was sent may be lost on its way: only the broker's confirm says that it has it",
        )?;
    expect(arrived.len() == 33)
        .or(
            "33 different ids in the queue, some of them twice",
            format!("{} different ids", arrived.len()),
        )
        .because("a job that is sent again under a new id is done twice")
}

/// As many jobs as a burst has in flight at once.
const WINDOW: u64 = 256;

pub async fn returned(lab: Lab) -> Outcome {
    // A producer that trusts the confirm into which lapin puts a returned message is right by
    // chance one time in 256.
    for name in ["burst", "burst-2"] {
        let count = WINDOW.to_string();
        let arguments = ["producer", "--burst", "--count", &count];
        let producer = lab.instance(name, &arguments).await?;
        let relay = ConfirmRelay::open(producer.tap().port()).await?;
        let producer = producer.through(relay.port());
        relay.pass(0);
        relay.hold_acks();
        producer.begin().await?;
        first_returned(&lab, &producer, &relay).await?;
        relay.release_acks();
        let exit = producer.finished().await?;
        let waiting = lab.take(MESSAGES).await?;
        let there = |id: &str| {
            let mut ids = waiting
                .iter()
                .map(|message| message.properties.message_id());
            ids.any(|there| there.as_ref().is_some_and(|there| there.as_str() == id))
        };
        let returned = lab.journal().methods(name, Method::BasicReturn);
        let lost = returned
            .iter()
            .filter_map(Frame::message_id)
            .find(|id| !there(id));
        let told = lost.map(|id| fate(lab.journal(), id).observed);
        expect(lost.is_none() && exit == Exit::Code(0))
            .or(
                format!("a job of {WINDOW} in flight is returned (basic.return), and sent again"),
                format!(
                    "{name} ended with {exit}; the job: {}",
                    told.unwrap_or_default()
                ),
            )
            .because(
                "lapin puts a returned message into another job's confirm: its id names the job",
            )?;
    }
    Ok(())
}

/// Has the first job of the window find no queue, and the others find one; waits until the
/// broker has confirmed them all.
async fn first_returned(lab: &Lab, producer: &Service, relay: &ConfirmRelay) -> Outcome {
    let name = producer.name();
    let why = "only a job that is sent can come back";
    lab.eventually("a job is sent", why, async || {
        Ok(Seen::when(relay.waits(), || "none yet".to_owned()))
    })
    .await?;
    let connection = lab.connect().await?;
    let channel = connection.create_channel().await;
    let channel = channel.map_err(anyhow::Error::from)?;
    let deleted = channel.queue_delete(MESSAGES.into(), QueueDeleteOptions::default());
    deleted.await.map_err(anyhow::Error::from)?;
    lab.journal().note(format!("queue `{MESSAGES}` deleted"));
    relay.pass(1);
    let expected = "the first job is returned (basic.return)";
    let why = "with `mandatory` the broker returns what no queue takes";
    lab.eventually(expected, why, async || {
        let returned = !lab.journal().methods(&name, Method::BasicReturn).is_empty();
        Ok(Seen::when(returned, || "it is not".to_owned()))
    })
    .await?;
    declare(&channel).await?;
    lab.journal().note(format!("queue `{MESSAGES}` declared"));
    relay.pass(u64::MAX);
    let expected = format!("{WINDOW} jobs in flight before the first confirm is back");
    let why = "a producer that awaits each confirm in turn sends one job in each round trip";
    lab.eventually(&expected, why, async || {
        let held = relay.held();
        Ok(Seen::when(held == WINDOW, || format!("{held} confirmed")))
    })
    .await
}

async fn declare(channel: &Channel) -> Outcome {
    let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default());
    let declared = channel.queue_declare(MESSAGES.into(), durable, none);
    declared.await.map_err(anyhow::Error::from)?;
    Ok(())
}
