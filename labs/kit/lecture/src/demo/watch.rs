//! Watching a stage: the queue at the broker itself, and what the programs say, until it is
//! as wanted or a deadline is over.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use broker::Broker;
use tokio::time::sleep;

use super::page::Page;
use super::said;
use super::stage::{DEAD, HEARTBEAT_S, QUEUE, Role, Stage, unexpected};
use super::talk::Talk;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// What is to happen at once: longer than it takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);
/// What two heartbeats decide, or a back-off.
pub const NOTICED: Duration = Duration::from_secs(10 * HEARTBEAT_S);

/// What is seen at the broker.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// What the broker holds: messages that wait, and those that were handed over and not
    /// acknowledged.
    pub depth: u64,
    /// Who takes them.
    pub consumers: u64,
}

/// A stage with its broker up.
pub struct Watch<'a, S> {
    pub stage: &'a S,
    pub broker: Broker,
    /// Who draws the queue, if anybody.
    talk: Option<&'a Talk>,
    /// Who must be running.
    on_stage: RefCell<Vec<Role>>,
}

impl<'a, S: Stage> Watch<'a, S> {
    pub fn new(stage: &'a S, broker: Broker, talk: Option<&'a Talk>) -> Self {
        Self {
            stage,
            broker,
            talk,
            on_stage: RefCell::default(),
        }
    }

    /// Starts a program, which must run from now on.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&self, role: Role) -> Result<()> {
        self.stage.start(role).await?;
        self.on_stage.borrow_mut().push(role);
        Ok(())
    }

    /// A program need not run any more.
    pub fn excuse(&self, role: Role) {
        self.on_stage.borrow_mut().retain(|other| *other != role);
    }

    /// Looks at the broker itself, past every cable.
    ///
    /// # Errors
    /// When it does not tell.
    pub async fn look(&self) -> Result<Sight> {
        let queue = self.broker.queue(self.stage.vhost(), QUEUE).await;
        let queue = queue.context("the broker does not tell of its queue")?;
        let queue = queue.context("the broker has no queue `messages`")?;
        let depth = queue.ready + queue.unacked;
        if let Some(talk) = self.talk {
            talk.bar(depth);
        }
        Ok(Sight {
            depth,
            consumers: queue.consumers.unwrap_or(0),
        })
    }

    /// Looks until it is as wanted.
    ///
    /// # Errors
    /// What was seen instead when `patience` is over and the queue has not become shorter
    /// meanwhile, or a program that has ended.
    pub async fn until(
        &self,
        expected: &str,
        patience: Duration,
        mut wanted: impl FnMut(Sight) -> bool,
    ) -> Result<Sight> {
        let (mut begun, mut shortest) = (Instant::now(), u64::MAX);
        loop {
            let now = self.look().await?;
            if wanted(now) {
                return Ok(now);
            }
            self.all_well().await?;
            // A class that let it grow for long shall see it shrink for long.
            if now.depth < shortest {
                (begun, shortest) = (Instant::now(), now.depth);
            }
            if begun.elapsed() > patience {
                let Sight { depth, consumers } = now;
                return Err(unexpected(
                    format!("{expected}, within {} s", patience.as_secs()),
                    format!("{depth} messages at the broker, consumers there: {consumers}"),
                ));
            }
            sleep(LOOK).await;
        }
    }

    /// Reads what a program says until it is as wanted.
    ///
    /// # Errors
    /// When it is not after [`SOON`], or a program has ended.
    pub async fn until_log(
        &self,
        role: Role,
        expected: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while !wanted(&self.stage.log(role).await?) {
            self.all_well().await?;
            if begun.elapsed() > SOON {
                let expected = format!("{expected}, within {} s", SOON.as_secs());
                return Err(unexpected(expected, "it did not come"));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until the broker and the consumer have both noticed that they do not hear each
    /// other, and tells when each did. Before it was `cut`, the consumer's log had `before`
    /// lines.
    ///
    /// # Errors
    /// Who has not noticed within [`NOTICED`].
    pub async fn both_notice(
        &self,
        cut: Instant,
        before: usize,
        tell: impl Fn(&str),
    ) -> Result<()> {
        let (mut broker, mut consumer) = (false, false);
        while !(broker && consumer) {
            let now = self.look().await?;
            let log = self.stage.log(Role::Consumer).await?;
            let event = log.lines().skip(before).find_map(said::event);
            let after = cut.elapsed();
            if !broker && now.consumers == 0 {
                broker = true;
                tell(&format!(
                    "after {after:.1?} the broker: no consumer any more; what it was handed \
                     goes back into the queue"
                ));
            }
            if let (false, Some(words)) = (consumer, event) {
                consumer = true;
                tell(&format!("after {after:.1?} the consumer: {words}"));
            }
            self.all_well().await?;
            if after > NOTICED && !(broker && consumer) {
                let who = match (broker, consumer) {
                    (false, false) => "neither has",
                    (true, _) => "the consumer has not",
                    (false, true) => "the broker has not",
                };
                return Err(unexpected(
                    "both ends notice within about two heartbeats",
                    format!("{who}, after {after:.1?}"),
                ));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Stops the producer, waits until the queue is empty, stops the consumer, and counts.
    ///
    /// # Errors
    /// When one of them does not end, or the queue does not run dry.
    pub async fn count(&self) -> Result<Page> {
        self.excuse(Role::Producer);
        self.stage.stop(Role::Producer).await?;
        self.until("an empty queue", SOON, |now| now.depth == 0)
            .await?;
        self.excuse(Role::Consumer);
        self.stage.stop(Role::Consumer).await?;
        let dead = self.broker.queue(self.stage.vhost(), DEAD).await?;
        Ok(Page {
            sent: said::sent(&self.stage.log(Role::Producer).await?),
            received: said::received(&self.stage.log(Role::Consumer).await?),
            rows: self.stage.rows().await?,
            dead: dead.map_or(0, |queue| queue.ready + queue.unacked),
        })
    }

    /// Whether all who should run do.
    async fn all_well(&self) -> Result<()> {
        let on_stage = self.on_stage.borrow().clone();
        for role in on_stage {
            if let Some(end) = self.stage.ended(role).await? {
                return Err(unexpected(
                    format!("the {} keeps running", role.name()),
                    format!("it ended: {end}"),
                ));
            }
        }
        Ok(())
    }
}
