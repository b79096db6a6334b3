//! What a producer does with its jobs, also when the link is cut or a job is returned.

use std::collections::BTreeSet;
use std::time::Duration;

use check::Exit;
use check::wiretap::{ConfirmRelay, ConnectionEvent, Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail, fate};

use super::jobs::{
    CONFIRMED, DEAD, MESSAGES, answered, declare_again, published, refuse, send, worker,
};

pub async fn sent(lab: Lab) -> Outcome {
    let ids = send(&lab, "producer", 20, "..").await?;
    let different: BTreeSet<_> = ids.iter().filter(|id| *id != "?").collect();
    expect(different.len() == 20)
        .or(
            "20 jobs with 20 different message_ids",
            format!("{} different ones", different.len()),
        )
        .hole(7)
        .because("by its id a worker recognizes a job that it has done already")?;
    queues_outlive_producer(&lab).await?;
    queue_keeps_jobs(&lab)?;
    jobs_arrive_persistent(&lab).await?;
    keeps_the_rate(&lab).await
}

async fn queues_outlive_producer(lab: &Lab) -> Outcome {
    for name in [MESSAGES, DEAD] {
        let queue = lab.queue(name).await?;
        let observed = queue.as_ref().map_or("no such queue".to_owned(), |queue| {
            format!("durable: {}, exclusive: {}", queue.durable, queue.exclusive)
        });
        expect(queue.is_some_and(|queue| queue.durable && !queue.exclusive))
            .or(
                format!("a durable queue `{name}`, also when the producer is gone"),
                observed,
            )
            .because(
                "it keeps the jobs while no client is connected, and while the broker restarts",
            )?;
    }
    Ok(())
}

/// What a queue's arguments can do to jobs without a word to anybody.
const SILENT: [(&str, &str); 5] = [
    (
        "x-expires",
        "the broker deletes a queue that nobody uses, with its jobs",
    ),
    (
        "x-message-ttl",
        "the broker drops a job that has waited so long",
    ),
    (
        "x-max-length",
        "the broker drops the oldest jobs of a full queue",
    ),
    (
        "x-max-length-bytes",
        "the broker drops the oldest jobs of a full queue",
    ),
    (
        "x-single-active-consumer",
        "one worker gets all jobs, and the others wait for its end",
    ),
];

/// `messages` drops no job, and leaves no worker idle.
fn queue_keeps_jobs(lab: &Lab) -> Outcome {
    let declares = lab.journal().methods("producer", Method::QueueDeclare);
    let declares = declares
        .iter()
        .filter(|frame| frame.args["queue"] == MESSAGES);
    for arguments in declares.map(|frame| &frame.args["arguments"]) {
        let refuses = arguments["x-overflow"] == "reject-publish";
        for (name, why) in SILENT {
            let set = !arguments[name].is_null() && arguments[name] != false;
            expect(!set || (refuses && name.starts_with("x-max")))
                .or(
                    format!("`{MESSAGES}` keeps each job for the next free worker"),
                    format!("queue.declare with `{name}`"),
                )
                .because(why)?;
        }
    }
    Ok(())
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
        .hole(7)
        .because("a transient job is lost when the broker restarts")
}

async fn keeps_the_rate(lab: &Lab) -> Outcome {
    let arguments = ["producer", "--rate", "10", "--count", "5"];
    let slow = lab.instance("slow", &arguments).await?;
    slow.ends_well(CONFIRMED).await?;
    let publishes = |frame: &Frame| frame.service == "slow" && frame.method == Method::BasicPublish;
    let times = lab.journal().times(publishes);
    let [from, to] = [times.first(), times.last()].map(|time| *time.unwrap_or(&0.0));
    let span = lab.between(from, to);
    let failure = fail(
        "5 jobs at 10 a second, 0.4 s from the first to the last",
        format!(
            "{} jobs in {:.2} s",
            times.len(),
            span.elapsed().as_secs_f64()
        ),
    )
    .because("--rate says how many jobs a second the producer publishes");
    failure.clone().unless(times.len() == 5)?;
    // Without a rate it takes a few milliseconds. On the busiest machine a fifth of the time counts.
    span.at_least(Duration::from_millis(60), failure)?;
    let connections = lab
        .journal()
        .connection_count("slow", &ConnectionEvent::Opened);
    let channels = lab.journal().methods("slow", Method::ChannelOpen).len();
    expect(connections < 5 && channels < 5)
        .or(
            "5 jobs over one connection and its channel",
            format!("{connections} connection(s), {channels} channel(s)"),
        )
        .hole(7)
        .because("a connection or a channel for each job costs more than the job itself")
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
    let relay = ConfirmRelay::open(producer.tap().port())?;
    relay.hold_acks();
    Ok((producer.through(relay.port()), relay))
}

pub async fn producer_cut(lab: Lab) -> Outcome {
    // The first cut loses a job.
    let slow = ["producer", "--rate", "50", "--count", "3"];
    let slow = lab.instance("slow", &slow).await?;
    slow.tap().cut_before(Side::Client, Method::BasicPublish);
    slow.ends_well(CONFIRMED).await?;
    all_there(&lab, 3, "the link was cut before a job arrived").await?;
    // The second one loses the first confirm, and all confirms after it.
    let burst = ["producer", "--burst", "--count", "30"];
    let burst = lab.instance("burst", &burst).await?;
    burst.tap().cut_before(Side::Server, Method::BasicAck);
    burst.ends_well(CONFIRMED).await?;
    all_there(&lab, 30, "the link was cut before a confirm arrived").await?;
    // The broker confirms, but for a while it confirms that it does not take the jobs.
    half_refused(&lab, 50).await?;
    nacked_again(&lab)?;
    all_there(&lab, 50, "at first the broker refused some (basic.nack)").await
}

/// The broker refuses jobs of the first half of a window, and takes the other half. (A quorum queue
/// refuses both: RabbitMQ 3.10.8.) The queue is empty before: a classic one drops its jobs as its
/// length is limited.
async fn half_refused(lab: &Lab, count: u64) -> Outcome {
    let (producer, relay) = held_burst(lab, "refused", count).await?;
    relay.release_acks();
    relay.pass(count / 2);
    refuse(lab, MESSAGES).await?;
    producer.begin().await?;
    answered(lab, "refused", Method::BasicNack, CONFIRMED).await?;
    lab.accept(MESSAGES).await?;
    relay.pass(u64::MAX);
    producer.finishes_well(CONFIRMED).await
}

/// Each job that the broker refused was published again.
fn nacked_again(lab: &Lab) -> Outcome {
    let (all, answers) = (published(lab, "refused"), answers(lab, "refused"));
    let again = |id: &str| all.iter().filter(|other| *other == id).count() > 1;
    let number = |answer: Method, twice: bool| {
        let such = answers
            .iter()
            .filter(|(id, is)| *is == answer && again(id) == twice);
        such.count()
    };
    let (lost, instead) = (
        number(Method::BasicNack, false),
        number(Method::BasicAck, true),
    );
    let (instead, why) = match instead {
        0 => (String::new(), "a nack says that no queue has the job"),
        _ => (
            format!("; instead {instead} acked job(s)"),
            "`settle` takes the confirmations in the order of the jobs: in another order the wrong \
             jobs leave",
        ),
    };
    expect(lost == 0)
        .or(
            "each nacked job (basic.nack) is published again",
            format!("{lost} nacked job(s) were not{instead}"),
        )
        .because(why)
}

/// The ids that the service published on its first channel, each with the broker's answer.
fn answers(lab: &Lab, service: &str) -> Vec<(String, Method)> {
    let frames = lab.journal().frames(|frame| frame.service == service);
    let publish = |frame: &&Frame| frame.method == Method::BasicPublish;
    let Some(first) = frames.iter().find(publish) else {
        return Vec::new();
    };
    let channel = frames.iter().skip_while(|frame| *frame != first);
    let channel = channel.take_while(|frame| !frame.reopens(first));
    let channel: Vec<_> = channel.filter(|frame| frame.same_channel(first)).collect();
    let answer = |number| {
        let confirms = [Method::BasicAck, Method::BasicNack];
        let mut answers = channel
            .iter()
            .filter(|frame| confirms.contains(&frame.method));
        answers
            .find(|frame| frame.covers(number))
            .map(|frame| frame.method)
    };
    let publishes = channel.iter().copied().filter(publish).zip(1..);
    let answered = publishes
        .filter_map(|(publish, number)| Some((publish.message_id()?.to_owned(), answer(number)?)));
    answered.collect()
}

/// The producer has ended with exit code 0: all its jobs are in the queue, under their first ids.
async fn all_there(lab: &Lab, count: usize, fault: &str) -> Outcome {
    let arrived = waiting_ids(lab).await?.len();
    expect(arrived >= count)
        .or(
            format!("{count} jobs in `{MESSAGES}` once their producer has ended with exit code 0"),
            format!("{arrived} jobs; {fault}"),
        )
        .because("a published job may get lost: only a confirm says that the broker has it")?;
    expect(arrived == count)
        .or(
            format!("{count} different ids in the queue, some of them twice"),
            format!("{arrived} different ids; {fault}"),
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
            match told {
                Some(told) => format!("{producer} ended with {exit}; the job: {told}"),
                None => format!("{producer} ended with {exit}"),
            },
        )
        .because("lapin puts a returned message into another job's confirm: its id names the job")
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
    declare_again(lab, producer, MESSAGES).await?;
    relay.pass(u64::MAX);
    let expected = format!("{WINDOW} jobs in flight before the first confirm arrives");
    let why = "a producer that awaits each confirm in turn publishes one job in each round trip";
    lab.eventually_within(SOON, &expected, why, async || {
        let held = relay.held();
        Ok(Seen::when(held == WINDOW, || format!("{held} confirmed")))
    })
    .await
}
