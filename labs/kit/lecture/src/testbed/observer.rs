//! Observes a testbed until it is in the expected state or a deadline has passed: the queue at
//! the broker, and what the programs print.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use broker::Broker;
use tokio::time::sleep;

use super::{Counts, HEARTBEAT_S, Role, Testbed, count_received, count_sent, event_in, unexpected};

/// How often the queue is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The deadline for what happens at once on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);
/// The deadline for what follows two missed heartbeats, or a back-off.
pub const NOTICED: Duration = Duration::from_secs(10 * HEARTBEAT_S);

/// The state of the queue at the broker.
#[derive(Debug, Clone, Copy)]
pub struct QueueState {
    /// How many messages the broker holds: ready and unacked ones.
    pub depth: u64,
    /// How many consumers the queue has.
    pub consumers: u64,
}

/// Observes a testbed whose broker is up.
pub struct Observer<'a, T> {
    pub testbed: &'a T,
    pub broker: Broker,
    /// Shows the queue's depth to a person.
    show_depth: Box<dyn Fn(u64) + 'a>,
    /// The programs that must be running.
    must_run: RefCell<Vec<Role>>,
}

impl<'a, T: Testbed> Observer<'a, T> {
    /// An observer that gives each depth of the queue to `show_depth`.
    pub fn new(testbed: &'a T, broker: Broker, show_depth: impl Fn(u64) + 'a) -> Self {
        Self {
            testbed,
            broker,
            show_depth: Box::new(show_depth),
            must_run: RefCell::default(),
        }
    }

    /// Starts a program, which must run from now on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&self, role: Role) -> Result<()> {
        self.testbed.start(role).await?;
        self.must_run.borrow_mut().push(role);
        Ok(())
    }

    /// Stops a program, which need not run any more.
    async fn stop(&self, role: Role) -> Result<()> {
        self.must_run.borrow_mut().retain(|other| *other != role);
        self.testbed.stop(role).await
    }

    /// Asks the broker for the state of the queue; no cable is between.
    ///
    /// # Errors
    /// When the broker does not answer.
    async fn look(&self) -> Result<QueueState> {
        let name = &self.testbed.lecture().queue;
        let queue = self.broker.queue(self.testbed.vhost(), name).await;
        let queue = queue.context("the broker does not answer questions about its queue")?;
        let queue = queue.with_context(|| format!("the broker has no queue `{name}`"))?;
        let depth = queue.ready + queue.unacked;
        (self.show_depth)(depth);
        Ok(QueueState {
            depth,
            consumers: queue.consumers.unwrap_or(0),
        })
    }

    /// Looks at the queue until it is as `wanted`.
    ///
    /// # Errors
    /// What was seen instead, when the queue has not become shorter for `limit`; or a program
    /// that has ended.
    pub async fn wait_until(
        &self,
        expected: &str,
        limit: Duration,
        mut wanted: impl FnMut(QueueState) -> bool,
    ) -> Result<QueueState> {
        let (mut begun, mut shortest) = (Instant::now(), u64::MAX);
        loop {
            let now = self.look().await?;
            if wanted(now) {
                return Ok(now);
            }
            self.check_running().await?;
            // A queue that has grown for long needs long to shrink.
            if now.depth < shortest {
                (begun, shortest) = (Instant::now(), now.depth);
            }
            if begun.elapsed() > limit {
                let QueueState { depth, consumers } = now;
                return Err(unexpected(
                    format!("{expected}, within {} s", limit.as_secs()),
                    format!("{depth} messages at the broker, consumers there: {consumers}"),
                ));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Reads a program's log until it is as `wanted`.
    ///
    /// # Errors
    /// When it is not within [`SOON`], or a program has ended.
    pub async fn wait_for_log(
        &self,
        role: Role,
        expected: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while !wanted(&self.testbed.log(role).await?) {
            self.check_running().await?;
            if begun.elapsed() > SOON {
                let expected = format!("{expected}, within {} s", SOON.as_secs());
                return Err(unexpected(expected, "the log does not say so"));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Waits until broker and consumer have both noticed that the connection was `cut`, and
    /// gives `tell` a sentence for each. The consumer's log had `before` lines at the cut.
    ///
    /// # Errors
    /// Which of them has not noticed within [`NOTICED`].
    pub async fn wait_until_both_notice(
        &self,
        cut: Instant,
        before: usize,
        tell: impl Fn(&str),
    ) -> Result<()> {
        let (mut broker, mut consumer) = (false, false);
        while !(broker && consumer) {
            let now = self.look().await?;
            let log = self.testbed.log(Role::Consumer).await?;
            let event = log.lines().skip(before).find_map(event_in);
            let after = cut.elapsed();
            if !broker && now.consumers == 0 {
                broker = true;
                tell(&format!(
                    "after {after:.1?} the broker: the consumer is gone; its unacked messages \
                     are requeued"
                ));
            }
            if let (false, Some(event)) = (consumer, event) {
                consumer = true;
                tell(&format!("after {after:.1?} the consumer: {event}"));
            }
            self.check_running().await?;
            if after > NOTICED && !(broker && consumer) {
                let which = match (broker, consumer) {
                    (false, false) => "neither has",
                    (true, _) => "the consumer has not",
                    (false, true) => "the broker has not",
                };
                return Err(unexpected(
                    "both ends notice within about two heartbeats",
                    format!("{which}, after {after:.1?}"),
                ));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Stops the producer, waits until the queue is empty, stops the consumer, and counts.
    ///
    /// # Errors
    /// When a program does not end, or the queue does not become empty.
    pub async fn stop_and_count(&self) -> Result<Counts> {
        self.stop(Role::Producer).await?;
        self.wait_until("an empty queue", SOON, |now| now.depth == 0)
            .await?;
        self.stop(Role::Consumer).await?;
        let name = &self.testbed.lecture().dead_letters;
        let dead = self.broker.queue(self.testbed.vhost(), name).await?;
        Ok(Counts {
            sent: count_sent(&self.testbed.log(Role::Producer).await?),
            received: count_received(&self.testbed.log(Role::Consumer).await?),
            rows: self.testbed.rows().await?,
            dead: dead.map_or(0, |queue| queue.ready + queue.unacked),
        })
    }

    /// Checks that all programs run that must.
    async fn check_running(&self) -> Result<()> {
        let must_run = self.must_run.borrow().clone();
        for role in must_run {
            if let Some(end) = self.testbed.unasked_end(role).await? {
                return Err(unexpected(
                    format!("the {} keeps running", role.name()),
                    format!("it ended: {end}"),
                ));
            }
        }
        Ok(())
    }
}
