//! Role `producer`: sends jobs, one by one or all at once.
//!
//! Settings: `AMQP_URL`, the broker; and the command line.

use std::time::Duration;

use anyhow::{Context, Result};
use common::command_line::{HIGHEST_RATE, rate};
use common::{logging, settings, shutdown};
use futures_util::future::try_join_all;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, PublisherConfirm};
use messaging::{Outlet, hopeless};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::job::Job;
use crate::queue;

/// How long the broker may take to confirm a window of jobs, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(300);

/// How many jobs may be in flight, sent and not confirmed yet: enough to hide the round trip,
/// few enough to keep in memory and to send again.
const WINDOW: usize = 256;

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// How many jobs to send; without it, until stopped
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Jobs a second
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
    /// Send them all at once, as fast as the broker takes them
    #[arg(long, requires = "count", conflicts_with = "rate")]
    burst: bool,
    /// The text of each job; each `.` is a unit of work, a `!` makes it fail
    #[arg(long, default_value = "...")]
    text: String,
}

/// Sends until all is confirmed, or until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let outlet = Outlet::new(settings::amqp_url()?);
    let mut jobs = (1..=settings.count.unwrap_or(usize::MAX))
        .map(|number| Job::new(&format!("job {number} {}", settings.text)))
        .peekable();
    // A burst needs no pauses: the next window waits for the confirms of this one.
    let (window, rate) = if settings.burst {
        (WINDOW, HIGHEST_RATE)
    } else {
        (1, settings.rate)
    };
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent = 0;
    while jobs.peek().is_some() {
        shutdown.run_until_cancelled(ticks.tick()).await;
        if shutdown.is_cancelled() {
            break;
        }
        let jobs: Vec<Job> = jobs.by_ref().take(window).collect();
        sent += jobs.len();
        deliver(&outlet, jobs, &shutdown).await?;
        log::info!("{sent} job(s) confirmed");
    }
    Ok(())
}

/// Sends `jobs` until the broker has confirmed each of them. A job whose confirm is lost is
/// sent twice, with the same id.
async fn deliver(outlet: &Outlet, mut jobs: Vec<Job>, shutdown: &CancellationToken) -> Result<()> {
    while !jobs.is_empty() {
        let sent = timeout(PATIENCE, send(outlet, &mut jobs, shutdown)).await;
        match sent.context("the broker takes too long").flatten() {
            Ok(()) => {}
            Err(error) if hopeless(&error) || shutdown.is_cancelled() => {
                return Err(error.context(format!("{} job(s) not confirmed", jobs.len())));
            }
            Err(error) => {
                let why = logging::causes(&error);
                log::warn!("{why}; sending {} job(s) again", jobs.len());
                outlet.renew().await;
                shutdown.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }
    Ok(())
}

/// One attempt. Jobs that a queue has leave `jobs`; after an error the others are still in it.
async fn send(outlet: &Outlet, jobs: &mut Vec<Job>, shutdown: &CancellationToken) -> Result<()> {
    // SIGTERM ends the wait for a connection: without one there is nothing to finish.
    let channel = tokio::select! {
        biased;
        channel = outlet.prepared(queue::declare) => channel?,
        () = shutdown.cancelled() => anyhow::bail!("told to stop"),
    };
    // HOLE 7: send all jobs, then await all confirms, then settle which jobs leave `jobs`.
    // All are polled before one is awaited: lapin writes them together.
    let confirms = try_join_all(jobs.iter().map(|job| publish(&channel, job))).await?;
    let confirmations = try_join_all(confirms).await?;
    messaging::settle(jobs, |job| &job.id, &confirmations)
    // END HOLE 7
}

/// Sends a job under its id. Await the confirm as well: only then does the broker have it.
async fn publish(channel: &Channel, job: &Job) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_message_id(job.id.as_str().into())
        .with_delivery_mode(2) // persistent: written to disk
        .with_content_type("text/plain".into());
    let (exchange, key) = ("".into(), queue::MESSAGES.into());
    let sent = channel.basic_publish(exchange, key, options, &job.body, properties);
    Ok(sent.await?)
}
