//! Measures how soon messages flow again: after the broker is back, after a consumer is killed, after a
//! connection is cut.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker::OwnNode;
use course::paths::Paths;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use process::Process;
use tokio::time::{sleep, timeout};

use super::chart::{Axis, Chart, Places, Scale, measured_lines};
use super::jobs::{JOBS, send};
use super::measured_program::{MeasuredProgram, TIME_LIMIT, VHOST};
use super::session::Session;

/// How often to look whether a worker goes on.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What the worker logs when its session has ended.
const ENDED: &str = "beginning again";

/// Measures each case at least twenty times, with chapter 03's worker and producer.
pub async fn measure(session: &mut Session<'_>, paths: &Paths) -> Result<()> {
    let program = session.program;
    let runs = session.effort.pick(2, 20);
    let cases = Places::named(
        "what happened",
        &["broker killed", "worker killed", "link cut"],
    );
    let line = format!("median of {runs}");
    let [lines] = measured_lines(&[&line], &cases, runs, async |_, case| {
        let time = match case {
            0 => broker_killed(program, paths).await?,
            1 => worker_killed(program).await?,
            _ => link_cut(program).await?,
        };
        Ok(Some([time.as_secs_f64() * 1e3]))
    })
    .await?;
    let spread = lines.iter().flat_map(|line| &line.points);
    let spread = spread.map(|point| format!("{:.0} to {:.0} ms", point.low, point.high));
    let spread = spread.collect::<Vec<_>>().join(", ");
    session.keep(Chart {
        name: "recovery".to_owned(),
        title: "How soon do messages flow again?".to_owned(),
        x: cases.axis,
        y: Axis::new("ms", Scale::Log),
        lines,
        note: format!(
            "From when the killed broker is up again to the worker's next job; from the kill of a \
             worker to its job's arrival at another consumer; from the cut of a worker's connection \
             to its next job. The fastest and the slowest run: {spread}. The worker pauses for 300 ms \
             when a session has ended, and 100 to 500 ms while there is no broker."
        ),
    })
}

/// From the moment at which a killed node accepts connections again.
async fn broker_killed(program: &MeasuredProgram, paths: &Paths) -> Result<Duration> {
    let own = OwnNode::acquire(paths, &|_| ()).await?;
    own.broker().create_vhost(VHOST).await?;
    let url = own.broker().address.url(VHOST);
    let worker = worker(program, &url).await?;
    let _producer = producer(program, &url).await?;
    until(&worker, begins).await?;
    own.kill().await?;
    own.up().await?;
    let since = Instant::now();
    until(&worker, begins_again).await?;
    Ok(since.elapsed())
}

/// From the kill of a worker that has a job to the job's arrival at another consumer.
async fn worker_killed(program: &MeasuredProgram) -> Result<Duration> {
    program.begin_anew().await?;
    let url = program.broker().address.url(VHOST);
    let worker = program
        .start(
            "solution-03",
            &["worker", "killed", "--unit-ms", "60000"],
            &of_worker(&url),
        )
        .await?;
    send(program, 1, ".").await?;
    until(&worker, begins).await?;
    let connection = broker::connect(&url, "bench").await?;
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions::default();
    let mut jobs = channel
        .basic_consume(JOBS.into(), "".into(), options, FieldTable::default())
        .await?;
    let since = Instant::now();
    worker.kill().await?;
    let job = timeout(TIME_LIMIT, jobs.next())
        .await?
        .context("the consumer has ended")??;
    let time = since.elapsed();
    ensure!(job.redelivered, "another job came");
    job.ack(BasicAckOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(time)
}

/// From the cut of a worker's connection to its next job.
async fn link_cut(program: &MeasuredProgram) -> Result<Duration> {
    program.begin_anew().await?;
    let (tap, _journal, url) = program.tap().await?;
    let worker = worker(program, &url).await?;
    let _producer = producer(program, &program.broker().address.url(VHOST)).await?;
    until(&worker, begins).await?;
    let since = Instant::now();
    tap.cut();
    until(&worker, begins_again).await?;
    Ok(since.elapsed())
}

fn of_worker(url: &str) -> [(&'static str, String); 3] {
    [
        ("AMQP_URL", url.to_owned()),
        ("DATABASE", ":memory:".to_owned()),
        ("RUST_LOG", "info".to_owned()),
    ]
}

async fn worker(program: &MeasuredProgram, url: &str) -> Result<Process> {
    let work = ["worker", "goes-on", "--prefetch", "10", "--unit-ms", "0"];
    program.start("solution-03", &work, &of_worker(url)).await
}

/// Sends two hundred jobs a second.
async fn producer(program: &MeasuredProgram, url: &str) -> Result<Process> {
    let send = ["producer", "--rate", "200", "--text", "."];
    program
        .start("solution-03", &send, &[("AMQP_URL", url.to_owned())])
        .await
}

/// Whether a worker with this log has begun a job.
fn begins(log: &str) -> bool {
    log.contains(" begun: ")
}

/// Whether it has begun one in a later session than its first.
fn begins_again(log: &str) -> bool {
    log.split_once(ENDED)
        .is_some_and(|(_, later)| begins(later))
}

/// Waits until it is so of what the worker has logged since it started.
async fn until(worker: &Process, is_so: fn(&str) -> bool) -> Result<()> {
    let since = Instant::now();
    while !is_so(&worker.output()) {
        ensure!(
            worker.ended().is_none(),
            "the worker has ended: {}",
            worker.output()
        );
        ensure!(since.elapsed() < TIME_LIMIT, "the worker does not go on");
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}
