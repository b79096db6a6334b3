//! Role `worker`: does jobs from the queue that all workers share.
//!
//! Settings: `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file, one for all
//! workers; and the command line.

use std::time::Duration;

use anyhow::{Context, Error, Result};
use common::store::{Row, Store};
use common::{settings, shutdown};
use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use messaging::Outlet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::job::Job;
use crate::{queue, retry};

/// How long it may take to publish a failed job again, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// The worker's name, recorded with each job that it does
    pub name: String,
    /// How many jobs the broker may hand over ahead of our acks
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    prefetch: u16,
    /// How many jobs at most are committed and acked together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// How long a unit of work takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    unit_ms: u64,
}

/// A worker, with all that it needs for a job.
struct Worker {
    settings: Settings,
    store: Store,
    /// For the failed jobs.
    outlet: Outlet,
    shutdown: CancellationToken,
}

/// Works until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let url = settings::amqp_url()?;
    let worker = Worker {
        settings,
        store: Store::open(&settings::database()?, "jobs").await?,
        outlet: Outlet::new(url.clone()),
        shutdown: shutdown.clone(),
    };
    messaging::keep(&url, &shutdown, async |connection| {
        worker.consume(connection).await
    })
    .await
}

impl Worker {
    /// Does one batch of jobs after the other, until `shutdown`.
    async fn consume(&self, connection: &Connection) -> Result<()> {
        let channel = connection.create_channel().await?;
        queue::declare(&channel).await?;
        let mut deliveries = subscribe(&channel, self.settings.prefetch).await?;
        log::info!("ready, with prefetch {}", self.settings.prefetch);
        // HOLE 6: until `shutdown`, which is checked between two batches and never in one.
        // Naive: only an error ends it, and SIGTERM does not.
        loop {
            let batch = take(&mut deliveries, self.settings.batch.into()).await?;
            self.work_off(batch).await?;
        }
        // END HOLE 6
    }

    /// Does these jobs one after the other. At `shutdown` the current job is finished; the
    /// broker requeues the others when our channel closes.
    async fn work_off(&self, batch: Vec<Delivery>) -> Result<()> {
        let unit = Duration::from_millis(self.settings.unit_ms);
        let mut done = Vec::new();
        for delivery in batch {
            if self.shutdown.is_cancelled() {
                break;
            }
            let job = Job::of(&delivery);
            log::info!("job {:.8} begun: {job}", job.id);
            match job.work(unit).await {
                Ok(()) => done.push((job, delivery)),
                Err(why) => self.put_off(&delivery, &why).await?,
            }
        }
        self.finish(done).await
    }

    /// Has a failed job tried again, or given up. When that fails, or takes too long, the job is
    /// still unacked, and the broker requeues it when our channel closes.
    async fn put_off(&self, delivery: &Delivery, why: &Error) -> Result<()> {
        let moving = retry::again_or_give_up(&self.outlet, delivery, why);
        let moved = timeout(PATIENCE, moving).await;
        let outcome = moved.context("the broker takes too long").flatten();
        if outcome.is_err() {
            self.outlet.renew().await;
        }
        outcome
    }

    /// Commits what was done, then acks it. `done` is in the order of delivery.
    async fn finish(&self, done: Vec<(Job, Delivery)>) -> Result<()> {
        let Some((_, last)) = done.last() else {
            return Ok(());
        };
        let rows: Vec<Row> = done.iter().map(|(job, _)| self.row(job)).collect();
        // HOLE 3: commit the rows; then one ack, for `last` and all deliveries before it.
        todo!("HOLE 3: commit the rows, then ack")
        // END HOLE 3
    }

    /// The effect of a job: who did it.
    fn row(&self, job: &Job) -> Row {
        Row {
            id: job.id.clone(),
            value: self.settings.name.clone(),
        }
    }
}

// ANCHOR: subscribe
/// Consumes jobs, at most `prefetch` of them ahead of our acks.
async fn subscribe(channel: &Channel, prefetch: u16) -> Result<Consumer> {
    // HOLE 2: before it consumes, a worker says how many unacked jobs it takes.
    // Naive: without a prefetch the broker delivers the whole queue to one worker.
    // END HOLE 2
    // HOLE 1: consume from the queue that all workers share.
    todo!("HOLE 1: consume from the shared queue")
    // END HOLE 1
}
// ANCHOR_END: subscribe

// ANCHOR: take
/// Waits for the next delivery, and takes those that have arrived with it: at most `most`. It
/// does not wait for more, so a batch is never late.
async fn take(deliveries: &mut Consumer, most: usize) -> Result<Vec<Delivery>> {
    let first = deliveries.next().await;
    let mut taken = vec![first.context("the broker ended the subscription")??];
    // `poll_once` asks a future once: `None` when it would have to wait.
    while taken.len() < most
        && let Some(Some(next)) = poll_once(deliveries.next()).await
    {
        taken.push(next?);
    }
    Ok(taken)
}
// ANCHOR_END: take
