//! Jobs and workers, as the checks use them.

use check::wiretap::Method;
use check::{Lab, Outcome, Row, Seen, Service, Stop, expect, fate};
use lapin::BasicProperties;

/// The queue that all workers share.
pub const MESSAGES: &str = "messages";
/// The queue of jobs that were given up.
pub const DEAD: &str = "messages.dead";

/// A worker that is not started yet; a unit of work takes it `unit_ms` milliseconds.
pub async fn worker(lab: &Lab, name: &str, unit_ms: u32, more: &[&str]) -> Outcome<Service> {
    let unit_ms = unit_ms.to_string();
    let arguments = [&["worker", name, "--unit-ms", &unit_ms], more].concat();
    let worker = lab.instance(name, &arguments).await?;
    let shared = lab.dir().join("jobs.sqlite");
    Ok(worker.with("DATABASE", shared.display()))
}

/// A worker that consumes. `of` is how many there are with it.
pub async fn hired(lab: &Lab, name: &str, unit_ms: u32, of: u64) -> Outcome<Service> {
    let worker = worker(lab, name, unit_ms, &[]).await?;
    worker.launch().await?;
    lab.consumers(MESSAGES, of).await?;
    Ok(worker)
}

/// Has a producer called `name` send `count` jobs at once, and gives their ids, in order.
pub async fn send(lab: &Lab, name: &str, count: usize, text: &str) -> Outcome<Vec<String>> {
    let number = count.to_string();
    let arguments = ["producer", "--burst", "--count", &number, "--text", text];
    let producer = lab.instance(name, &arguments).await?;
    ends_well(&producer).await?;
    let ids = published(lab, name);
    expect(ids.len() == count)
        .or(
            format!("{name} publishes {count} jobs"),
            format!("{} published", ids.len()),
        )
        .because("what is not sent cannot be done")?;
    Ok(ids)
}

/// A job for `Lab::publish`.
pub fn job(id: &str, text: &str) -> (String, BasicProperties) {
    let properties = BasicProperties::default().with_message_id(id.into());
    (text.to_owned(), properties)
}

/// Runs a producer to its end.
pub async fn ends_well(producer: &Service) -> Outcome {
    let why = "exit code 0 says that the broker has confirmed each job";
    producer.ends_well(why).await
}

/// The ids of all that the service has published, in order.
pub fn published(lab: &Lab, service: &str) -> Vec<String> {
    let frames = lab.journal().methods(service, Method::BasicPublish);
    let ids = frames
        .iter()
        .map(|frame| frame.message_id().unwrap_or("?").to_owned());
    ids.collect()
}

/// Who did which job.
pub fn done(worker: &Service) -> Outcome<Vec<Row>> {
    worker.rows("jobs")
}

/// How many jobs the worker of this name did.
pub fn share(rows: &[Row], name: &str) -> usize {
    rows.iter().filter(|row| row.value == name).count()
}

/// Waits until each of the jobs is done, once, and gives who did which.
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
    lab.each_once(expected, Some(MESSAGES), ids, look).await?;
    done(worker)
}

/// Lays a failure at the door of `hole`, known better here than from the journal; unless a
/// service has come upon another hole, or has died.
pub fn at_hole<T>(lab: &Lab, hole: u32, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) if lab.all_well().is_ok() => failure.hole(hole).into(),
        other => other,
    })
}

/// Waits until the worker has `count` jobs in hand.
pub async fn in_hand(lab: &Lab, worker: &str, count: usize) -> Outcome {
    let expected = format!("the broker hands {count} job(s) to {worker}");
    let why = "only what is delivered can be worked on";
    lab.eventually(&expected, why, async || {
        let seen = lab.journal().methods(worker, Method::BasicDeliver).len();
        Ok(Seen::when(seen >= count, || format!("{seen} delivered")))
    })
    .await
}

/// Waits until the worker has acked this job.
pub async fn acked(lab: &Lab, worker: &str, id: &str) -> Outcome {
    let expected = format!("{worker} acks the job that it has done");
    let why = "what is done and not acked comes again";
    lab.eventually(&expected, why, async || {
        let told = || fate(lab.journal(), id).observed;
        Ok(Seen::when(lab.journal().acked(worker, id), told))
    })
    .await
}

/// Waits until at least `count` jobs are done.
pub async fn some_done(lab: &Lab, worker: &Service, count: usize) -> Outcome {
    let expected = format!("{count} jobs done, and more coming");
    let why = "workers come and go while there is work";
    lab.eventually(&expected, why, async || {
        let seen = done(worker)?.len();
        Ok(Seen::when(seen >= count, || format!("{seen} done")))
    })
    .await
}
