//! Producers, jobs and workers, as the checks use them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Row, Seen, Service, Span, Stop, expect, fail, fate};
use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

/// The queue that all workers share.
pub const MESSAGES: &str = "messages";
/// The queue of jobs that were given up.
pub const DEAD: &str = "messages.dead";
/// What a producer's exit code 0 stands for.
pub const CONFIRMED: &str = "exit code 0 says that the broker has confirmed each job";

/// How long a worker with a short job may take to end.
const STOPS_WITHIN: Duration = Duration::from_secs(3);

/// A worker that is not started yet; a unit of work takes it `unit_ms` milliseconds.
pub async fn worker(lab: &Lab, name: &str, unit_ms: u32, more: &[&str]) -> Outcome<Service> {
    let unit_ms = unit_ms.to_string();
    let arguments = [&["worker", name, "--unit-ms", &unit_ms], more].concat();
    let worker = lab.instance(name, &arguments).await?;
    let shared = lab.dir().join("jobs.sqlite");
    Ok(worker.with("DATABASE", shared.display()))
}

/// Starts a worker with the default settings, and waits until it consumes; `of` workers do then.
pub async fn start_worker(lab: &Lab, name: &str, unit_ms: u32, of: u64) -> Outcome<Service> {
    let worker = worker(lab, name, unit_ms, &[]).await?;
    consumes(lab, &worker, of).await?;
    Ok(worker)
}

/// Starts `worker`, and waits until it consumes; `of` workers do then.
pub async fn consumes(lab: &Lab, worker: &Service, of: u64) -> Outcome {
    worker.launch().await?;
    at_hole(lab, 1, lab.consumers(MESSAGES, of).await)?;
    nothing_purged(lab)
}

/// No service has emptied or deleted a queue of jobs.
fn nothing_purged(lab: &Lab) -> Outcome {
    let purges = lab.journal().frames(|frame| {
        frame.from == Side::Client
            && matches!(frame.method, Method::QueuePurge | Method::QueueDelete)
            && [MESSAGES, DEAD]
                .iter()
                .any(|queue| frame.args["queue"] == *queue)
    });
    let Some(purge) = purges.first() else {
        return Ok(());
    };
    let (service, method) = (&purge.service, purge.method);
    let consumes = lab.journal().methods(service, Method::BasicConsume);
    let failure = fail(
        "a job leaves its queue only when a worker has acked it",
        format!(
            "{service} removes all jobs from `{}` ({method})",
            purge.args["queue"].as_str().unwrap_or("?")
        ),
    )
    .because("the jobs that waited there are lost, and no worker has seen them");
    Err(failure.hole(if consumes.is_empty() { 7 } else { 1 }).into())
}

/// Has a producer called `name` publish a burst of `count` jobs, and returns their ids in order.
pub async fn send(lab: &Lab, name: &str, count: usize, text: &str) -> Outcome<Vec<String>> {
    let number = count.to_string();
    let arguments = ["producer", "--burst", "--count", &number, "--text", text];
    let producer = lab.instance(name, &arguments).await?;
    at_hole(lab, 7, producer.ends_well(CONFIRMED).await)?;
    let ids = published(lab, name);
    expect(ids.len() == count)
        .or(
            format!("{name} publishes {count} jobs"),
            format!("{} published", ids.len()),
        )
        .hole(7)
        .because("a job that is not published is never done")?;
    Ok(ids)
}

/// Makes `queue` nack each publish, and returns how many messages it then holds. An empty quorum queue
/// takes a few more than its length allows (RabbitMQ 3.10), so it gets one, without an id.
pub async fn refuse(lab: &Lab, queue: &str) -> Outcome<u64> {
    let quorum = lab
        .queue(queue)
        .await?
        .is_some_and(|queue| queue.is_quorum());
    if quorum {
        let filler = (String::new(), BasicProperties::default());
        lab.publish(queue, [filler]).await?;
    }
    lab.refuse(queue).await?;
    Ok(u64::from(quorum))
}

/// A job for `Lab::publish`.
pub fn job(id: &str, text: &str) -> (String, BasicProperties) {
    let properties = BasicProperties::default().with_message_id(id.into());
    (text.to_owned(), properties)
}

/// The ids of all that the service has published, in order.
pub fn published(lab: &Lab, service: &str) -> Vec<String> {
    let frames = lab.journal().methods(service, Method::BasicPublish);
    let ids = frames
        .iter()
        .map(|frame| frame.message_id().unwrap_or("?").to_owned());
    ids.collect()
}

/// The rows of all jobs done, each with its worker's name.
pub fn done(worker: &Service) -> Outcome<Vec<Row>> {
    worker.rows("jobs")
}

/// How many jobs the worker of this name did.
pub fn share(rows: &[Row], name: &str) -> usize {
    rows.iter().filter(|row| row.value == name).count()
}

/// Waits until each of the jobs is done once, and returns all rows.
pub async fn all_done(
    lab: &Lab,
    worker: &Service,
    expected: &str,
    ids: &[String],
) -> Outcome<Vec<Row>> {
    let look = async || {
        let rows = done(worker)?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    };
    let seen = lab.each_once(expected, Some(MESSAGES), ids, look).await;
    nothing_purged(lab)?;
    seen?;
    done(worker)
}

/// Sends SIGTERM, and waits for the worker's end. It has one short job to finish, so this takes
/// no longer than [`STOPS_WITHIN`].
pub async fn stops(lab: &Lab, worker: &Service) -> Outcome {
    worker.terminate()?;
    let name = worker.name();
    let expected = format!("{name} ends within {} s of SIGTERM", STOPS_WITHIN.as_secs());
    let why = "an operator kills a worker that is slow to stop, in the middle of its job";
    lab.eventually_within(STOPS_WITHIN, &expected, why, async || {
        Ok(Seen::some(worker.exit(), || format!("{name} still runs")))
    })
    .await?;
    worker.stopped_well().await
}

/// Points a failure to `hole`, which the check knows better than the journal; unless a service
/// has come to another open hole, or has died.
pub fn at_hole<T>(lab: &Lab, hole: u32, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) if lab.all_well().is_ok() => failure.hole(hole).into(),
        other => other,
    })
}

/// Waits until the worker has acked this job.
pub async fn acked(lab: &Lab, worker: &str, id: &str) -> Outcome {
    let expected = format!("{worker} acks the job once it is done");
    let why = "a job that is done but not acked is redelivered";
    lab.eventually(&expected, why, async || {
        let told = || fate(lab.journal(), id).observed;
        Ok(Seen::when(lab.journal().acked(worker, id), told))
    })
    .await
}

/// How many jobs wait in the queues that services have declared, ready and unacked. A failed job
/// may wait in a queue of its own for its next try.
pub async fn in_queues(lab: &Lab) -> Outcome<u64> {
    let declared = |frame: &Frame| frame.method == Method::QueueDeclareOk;
    let declared = lab.journal().frames(declared);
    let names = declared
        .iter()
        .filter_map(|frame| frame.args["queue"].as_str());
    let mut jobs = 0;
    for name in names.collect::<BTreeSet<_>>() {
        jobs += lab.depth(name).await?;
    }
    Ok(jobs)
}

/// How long a job may be in no queue: longer than the broker takes to move it to another.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// The same with quorum queues, whose counts are up to 5 s old.
const LOST_FROM_QUORUM_AFTER: Duration = Duration::from_secs(6);

/// Tells a lost job from one that the broker moves from one queue to another at this moment.
pub struct Nowhere {
    /// How many other jobs are in the queues.
    others: u64,
    since: Option<Span>,
}

impl Nowhere {
    /// For a job beside `others`, which stay where they are.
    pub fn beside(others: u64) -> Self {
        Self {
            others,
            since: None,
        }
    }

    /// Whether the job, which ada has settled, is lost: for a while it has been in no queue.
    pub async fn is_lost(&mut self, lab: &Lab, job: &str) -> Outcome<bool> {
        let settled = lab.journal().settlement("ada", job).is_some();
        let gone = settled && in_queues(lab).await? <= self.others;
        let began = || self.since.take().unwrap_or_else(|| lab.span());
        self.since = gone.then(began);
        let quorum = lab.queue(MESSAGES).await?;
        let patience = match quorum.is_some_and(|queue| queue.is_quorum()) {
            true => LOST_FROM_QUORUM_AFTER,
            false => LOST_AFTER,
        };
        let since = self.since.as_ref();
        Ok(since.is_some_and(|span| span.exceeds(patience)))
    }
}

/// How often this worker has tried the job to its end: the deliveries that it has settled.
pub fn tries(lab: &Lab, worker: &str, job: &str) -> usize {
    let frames = lab.journal().frames(|frame| frame.service == worker);
    let settled = |(at, delivery): &(usize, &Frame)| {
        let mut later = frames[*at..].iter();
        let mut open = later.by_ref().take_while(|frame| !frame.reopens(delivery));
        open.any(|frame| frame.settles(delivery))
    };
    let deliveries = frames.iter().enumerate().filter(|(_, frame)| {
        frame.method == Method::BasicDeliver && frame.message_id() == Some(job)
    });
    deliveries.filter(settled).count()
}

/// Waits until the broker has sent `method` to this service.
pub async fn answered(lab: &Lab, service: &str, method: Method, why: &str) -> Outcome {
    let expected = format!("{service} publishes, and the broker answers with {method}");
    lab.eventually(&expected, why, async || {
        let frames = lab.journal().methods(service, method);
        let came = frames.iter().any(|frame| frame.from == Side::Server);
        Ok(Seen::when(came, || format!("no {method} for {service}")))
    })
    .await
}

/// Declares `queue` again, with the arguments with which this service declared it.
pub async fn declare_again(lab: &Lab, service: &str, queue: &str) -> Outcome {
    let declares = lab.journal().methods(service, Method::QueueDeclare);
    let mut declares = declares.iter().filter(|frame| !frame.flag("passive"));
    let declare = declares.find(|frame| frame.args["queue"] == queue);
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
            .queue_declare(queue.into(), durable, arguments)
            .await
    };
    let declared = declared.await;
    declared.with_context(|| format!("the check cannot declare `{queue}` again"))?;
    Ok(())
}

/// Waits until at least `count` jobs are done.
pub async fn some_done(lab: &Lab, worker: &Service, count: usize) -> Outcome {
    let expected = format!("{count} jobs done, and more to come");
    let why = "workers start and stop while there is work";
    lab.eventually(&expected, why, async || {
        let seen = done(worker)?.len();
        Ok(Seen::when(seen >= count, || format!("{seen} done")))
    })
    .await
}
