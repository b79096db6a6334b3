//! What a producer does with its jobs, also when the link is cut or a job is returned.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use check::Exit;
use check::wiretap::{ConfirmRelay, Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail, fate};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::jobs::{CONFIRMED, MESSAGES, send, worker};

pub async fn sent(lab: Lab) -> Outcome {
    let ids = send(&lab, "producer", 20, "..").await?;
    let different: BTreeSet<_> = ids.iter().filter(|id| *id != "?").collect();
    expect(different.len() == 20)
        .or(
            "20 jobs with 20 different message_ids",
            format!("{} different ones", different.len()),
        )
        .because("by its id a worker recognizes a job that it has done already")?;
    queue_outlives_producer(&lab).await?;
    jobs_arrive_persistent(&lab).await?;
    keeps_the_rate(&lab).await
}

async fn queue_outlives_producer(lab: &Lab) -> Outcome {
    let queue = lab.queue(MESSAGES).await?;
    let observed = queue.as_ref().map_or("no such queue".to_owned(), |queue| {
        format!("durable: {}, exclusive: {}", queue.durable, queue.exclusive)
    });
    expect(queue.is_some_and(|queue| queue.durable && !queue.exclusive))
        .or(
            "a durable queue `messages`, also when the producer is gone",
            observed,
        )
        .because("it keeps the jobs while no client is connected, and while the broker restarts")
}

async fn jobs_arrive_persistent(lab: &Lab) -> Outcome {
    let ada = worker(lab, "ada", 30_000, &["--prefetch", "20"]).await?;
    ada.launch().await?;
    lab.delivered("ada", 20).await?;
    let arrived = lab.journal().methods("ada", Method::BasicDeliver);
    let messages = arrived.iter().filter_map(|frame| frame.message.as_ref());
    let whole = messages.filter(|job| job.persistent && job.body.ends_with(".."));
    let good = whole.count();
    expect(good == 20)
        .or(
            "20 persistent jobs arrive at a worker once the producer has ended",
            format!(
                "{} arrive, {good} of them persistent, with their text",
                arrived.len()
            ),
        )
        .because("a transient job is lost when the broker restarts")
}

async fn keeps_the_rate(lab: &Lab) -> Outcome {
    let arguments = ["producer", "--rate", "20", "--count", "5"];
    let slow = lab.instance("slow", &arguments).await?;
    slow.ends_well(CONFIRMED).await?;
    let publishes = |frame: &Frame| frame.service == "slow" && frame.method == Method::BasicPublish;
    let times = lab.journal().times(publishes);
    let [from, to] = [times.first(), times.last()].map(|time| *time.unwrap_or(&0.0));
    let span = lab.between(from, to);
    let failure = fail(
        "5 jobs at 20 a second, 0.2 s from the first to the last",
        format!("{} jobs in {:.2?}", times.len(), span.elapsed()),
    )
    .because("--rate says how many jobs a second the producer publishes");
    failure.clone().unless(times.len() == 5)?;
    span.at_least(Duration::from_millis(100), failure)
}

/// How long a burst may take to be published: far longer than it does.
const SOON: Duration = Duration::from_secs(2);

pub async fn burst(lab: Lab) -> Outcome {
    let (producer, relay) = held_burst(&lab, "producer", 50).await?;
    producer.begin().await?;
    let expected = "half of 50 jobs are published before the first confirm arrives";
    let why = "a producer that awaits each confirm publishes one job in each round trip";
    lab.eventually_within(SOON, expected, why, async || {
        let sent = lab
            .journal()
            .methods("producer", Method::BasicPublish)
            .len();
        Ok(Seen::when(sent >= 25, || {
            format!("{sent} sent, then it waited for a confirm")
        }))
    })
    .await?;
    relay.release_acks();
    producer.finishes_well(CONFIRMED).await
}

/// A producer of a burst, and the relay that holds its confirms back: a producer that needs
/// one to go on stops early.
async fn held_burst(lab: &Lab, name: &str, count: u64) -> Outcome<(Service, ConfirmRelay)> {
    let count = count.to_string();
    let arguments = ["producer", "--burst", "--count", &count];
    let producer = lab.instance(name, &arguments).await?;
    let relay = ConfirmRelay::open(producer.tap().port()).await?;
    relay.hold_acks();
    Ok((producer.through(relay.port()), relay))
}

pub async fn producer_cut(lab: Lab) -> Outcome {
    // The first cut loses a job.
    let slow = ["producer", "--rate", "50", "--count", "3"];
    let slow = lab.instance("slow", &slow).await?;
    slow.tap().cut_before(Side::Client, Method::BasicPublish);
    slow.ends_well(CONFIRMED).await?;
    // The second one loses the first confirm, and all confirms after it.
    let burst = ["producer", "--burst", "--count", "30"];
    let burst = lab.instance("burst", &burst).await?;
    burst.tap().cut_before(Side::Server, Method::BasicAck);
    burst.ends_well(CONFIRMED).await?;

    let arrived = waiting_ids(&lab).await?.len();
    expect(arrived >= 33)
        .or(
            "33 jobs in queue `messages`, now that both producers have ended with exit code 0",
            format!("{arrived} jobs"),
        )
        .because("a published job may get lost: only a confirm says that the broker has it")?;
    expect(arrived == 33)
        .or(
            "33 different ids in the queue, some of them twice",
            format!("{arrived} different ids"),
        )
        .because("a job that is republished under a new id is done twice")
}

/// Takes the jobs that are ready, and returns their ids.
async fn waiting_ids(lab: &Lab) -> Outcome<BTreeSet<String>> {
    let ready = lab.take(MESSAGES).await?;
    let ids = ready.iter().filter_map(|job| {
        let id = job.properties.message_id().as_ref()?;
        Some(id.to_string())
    });
    Ok(ids.collect())
}

/// How many jobs of a burst a producer has in flight at once.
const WINDOW: u64 = 256;

pub async fn returned(lab: Lab) -> Outcome {
    // A producer that trusts the confirm into which lapin puts a returned message is right by
    // chance one time in 256.
    for name in ["burst", "burst-2"] {
        let (producer, relay) = held_burst(&lab, name, WINDOW).await?;
        relay.pass(0);
        producer.begin().await?;
        first_returned(&lab, name, &relay).await?;
        relay.release_acks();
        let exit = producer.finished().await?;
        republished(&lab, name, exit).await?;
    }
    Ok(())
}

/// Each job of this producer that was returned is in the queue by now.
async fn republished(lab: &Lab, producer: &str, exit: Exit) -> Outcome {
    let ready = waiting_ids(lab).await?;
    let returns = lab.journal().methods(producer, Method::BasicReturn);
    let mut returned = returns.iter().filter_map(Frame::message_id);
    let lost = returned.find(|id| !ready.contains(*id));
    let told = lost.map(|id| fate(lab.journal(), id).observed);
    expect(lost.is_none() && exit == Exit::Code(0))
        .or(
            format!("a job of {WINDOW} in flight is returned (basic.return) and republished"),
            format!(
                "{producer} ended with {exit}; the job: {}",
                told.unwrap_or_default()
            ),
        )
        .because("lapin puts a returned message into another job's confirm: its id names the job")
}

/// Declares `messages` again, with the arguments with which the producer declared it.
async fn declared_again(lab: &Lab, producer: &str) -> Outcome {
    let declares = lab.journal().methods(producer, Method::QueueDeclare);
    let declare = declares
        .iter()
        .find(|frame| frame.args["queue"] == MESSAGES);
    let mut arguments = FieldTable::default();
    let given = declare.and_then(|frame| frame.args["arguments"].as_object());
    for (name, value) in given.into_iter().flatten() {
        let text = value
            .as_str()
            .map(|text| AMQPValue::LongString(text.into()));
        let number = value.as_i64().map(AMQPValue::LongLongInt);
        let flag = value.as_bool().map(AMQPValue::Boolean);
        if let Some(value) = text.or(number).or(flag) {
            arguments.insert(name.as_str().into(), value);
        }
    }
    let connection = lab.connect().await?;
    let declared = async {
        let channel = connection.create_channel().await?;
        let durable = QueueDeclareOptions::durable();
        channel
            .queue_declare(MESSAGES.into(), durable, arguments)
            .await
    };
    let declared = declared.await;
    declared.context("the check cannot declare `messages` again")?;
    Ok(())
}

/// Has the first job of the window find no queue, and the others find one; waits until the
/// broker has confirmed them all.
async fn first_returned(lab: &Lab, producer: &str, relay: &ConfirmRelay) -> Outcome {
    let why = "only a published job can be returned";
    lab.eventually("a job is published", why, async || {
        Ok(Seen::when(relay.waits(), || "none yet".to_owned()))
    })
    .await?;
    lab.delete_queue(MESSAGES).await?;
    relay.pass(1);
    let expected = "the broker returns the first job (basic.return)";
    let why = "with `mandatory` the broker returns an unroutable message";
    lab.eventually(expected, why, async || {
        let returns = lab.journal().methods(producer, Method::BasicReturn);
        Ok(Seen::when(!returns.is_empty(), || "it does not".to_owned()))
    })
    .await?;
    declared_again(lab, producer).await?;
    relay.pass(u64::MAX);
    let expected = format!("{WINDOW} jobs in flight before the first confirm arrives");
    let why = "a producer that awaits each confirm in turn publishes one job in each round trip";
    lab.eventually_within(SOON, &expected, why, async || {
        let held = relay.held();
        Ok(Seen::when(held == WINDOW, || format!("{held} confirmed")))
    })
    .await
}
