//! The lecture's demonstration, act by act.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::broker::Broker;
use tokio::time::sleep;

use super::page::{Page, page};
use super::said;
use super::stage::{DEAD, HEARTBEAT_S, QUEUE, RATE, Role, Stage, unexpected};
use super::talk::Talk;

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// What is to happen at once: longer than it takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// What two heartbeats decide, or a back-off.
const NOTICED: Duration = Duration::from_secs(10 * HEARTBEAT_S);
/// How much waits before the consumer comes, when nobody says that it is enough.
const ENOUGH: u64 = 40;

/// What is seen at the broker.
#[derive(Debug, Clone, Copy)]
struct Sight {
    /// What the broker holds: messages that wait, and those that were handed over and not
    /// acknowledged.
    depth: u64,
    consumers: u64,
}

/// The story on its stage.
pub struct Story<'a, S> {
    stage: &'a S,
    talk: &'a Talk,
    broker: Broker,
    /// Who must be running.
    on_stage: Vec<Role>,
}

/// Plays it all. False when a message was lost.
///
/// # Errors
/// When it does not go as told ([`super::stage::Unexpected`]), or this machine has trouble.
pub async fn play(stage: &impl Stage, talk: &Talk) -> Result<bool> {
    let mut story = first_act(stage, talk).await?;
    story.nobody_listens().await?;
    story.the_consumer_comes().await?;
    story.the_cable_is_pulled().await?;
    story.plugged_in().await?;
    story.last_page().await
}

/// VM A comes up: only then is there a broker to look at.
async fn first_act<'a, S: Stage>(stage: &'a S, talk: &'a Talk) -> Result<Story<'a, S>> {
    talk.act(1, "VM A comes up");
    talk.say("On VM A the broker starts, and then the producer. VM B is still off.");
    let begun = Instant::now();
    let broker = stage.start_broker().await?;
    let (version, vhost, took) = (&broker.version, stage.vhost(), begun.elapsed());
    talk.good(&format!(
        "the broker is up after {took:.1?}: {version}, vhost {vhost}"
    ));
    stage.start(Role::Producer).await?;
    let story = Story {
        stage,
        talk,
        broker,
        on_stage: vec![Role::Producer],
    };
    story
        .until_log(Role::Producer, "the producer's first confirm", |log| {
            said::sent(log).confirmed > 0
        })
        .await?;
    talk.good(&format!(
        "the producer sends {RATE} messages a second, and the broker confirms them"
    ));
    Ok(story)
}

impl<S: Stage> Story<'_, S> {
    async fn nobody_listens(&self) -> Result<()> {
        self.talk.act(2, "The producer works, and nobody listens");
        self.talk.say(
            "The consumer is down. The producer does not know and need not know: each message \
             waits in the queue on VM A, on disk, until somebody takes it.",
        );
        let enter = self.talk.ask("starts the consumer on VM B");
        let grown = match enter {
            None => {
                self.until("a queue that grows", SOON, |now| now.depth >= ENOUGH)
                    .await?
            }
            Some(mut enter) => {
                self.until("", Duration::MAX, |_| enter.was_pressed())
                    .await?
            }
        };
        self.talk
            .note(&format!("{} messages wait for a consumer", grown.depth));
        Ok(())
    }

    async fn the_consumer_comes(&mut self) -> Result<()> {
        self.talk.act(3, "The consumer starts on VM B");
        self.stage.start(Role::Consumer).await?;
        self.on_stage.push(Role::Consumer);
        let begun = Instant::now();
        self.cleared(
            begun,
            "the consumer took all that waited, and from now on each message as it comes",
        )
        .await?;
        self.talk.pause("pulls the cable").await;
        Ok(())
    }

    async fn the_cable_is_pulled(&self) -> Result<()> {
        self.talk.act(4, "The cable is pulled");
        self.talk.say(&format!(
            "Nothing tells either end: no packet says that packets no longer come. Only the \
             heartbeat does, agreed on at {HEARTBEAT_S} s: who hears nothing for two of them \
             gives the connection up."
        ));
        let before = self.stage.log(Role::Consumer).await?.lines().count();
        let pulled = Instant::now();
        self.stage.pull().await?;
        self.both_notice(pulled, before).await?;
        // Longer than two heartbeats in any case.
        let long = Duration::from_millis(HEARTBEAT_S * 3500);
        match self.talk.ask("plugs it in again") {
            None => {
                self.until("the producer goes on", NOTICED, |now| {
                    now.depth > 0 && pulled.elapsed() >= long
                })
                .await?
            }
            Some(mut enter) => {
                self.until("", Duration::MAX, |_| enter.was_pressed())
                    .await?
            }
        };
        let out = pulled.elapsed();
        self.talk.note(&format!(
            "the cable was out for {out:.1?}; the producer went on all the time"
        ));
        Ok(())
    }

    /// Waits until the broker and the consumer have both noticed, and says when each did.
    async fn both_notice(&self, pulled: Instant, before: usize) -> Result<()> {
        let (mut broker, mut consumer) = (false, false);
        while !(broker && consumer) {
            let now = self.look().await?;
            let after = pulled.elapsed();
            if !broker && now.consumers == 0 {
                broker = true;
                self.talk.note(&format!(
                    "after {after:.1?} the broker: no consumer any more; what it was handed \
                     goes back into the queue"
                ));
            }
            let log = self.stage.log(Role::Consumer).await?;
            let event = log.lines().skip(before).find_map(said::event);
            if let (false, Some(words)) = (consumer, event) {
                consumer = true;
                self.talk
                    .note(&format!("after {after:.1?} the consumer: {words}"));
            }
            self.talk.bar(now.depth);
            if after > NOTICED {
                let who = match (broker, consumer) {
                    (false, false) => "neither has",
                    (true, false) => "the consumer has not",
                    _ => "the broker has not",
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

    async fn plugged_in(&self) -> Result<()> {
        self.talk.act(5, "The cable is plugged in");
        self.talk.say(
            "Nobody restarts anything. The consumer has been trying all the time, with pauses \
             that grow to 2 s and no further.",
        );
        let plugged = Instant::now();
        self.stage.plug().await?;
        self.until("the consumer is back", NOTICED, |now| now.consumers > 0)
            .await?;
        let back = plugged.elapsed();
        self.talk
            .note(&format!("the consumer is back after {back:.1?}"));
        self.cleared(plugged, "the queue is empty again").await?;
        self.talk.pause("counts what was lost").await;
        Ok(())
    }

    async fn last_page(&mut self) -> Result<bool> {
        self.talk.act(6, "What was lost?");
        self.talk
            .say("The producer is told to stop, and the queue runs dry.");
        self.on_stage.retain(|role| *role == Role::Consumer);
        self.stage.stop(Role::Producer).await?;
        self.until("an empty queue", SOON, |now| now.depth == 0)
            .await?;
        self.on_stage.clear();
        self.stage.stop(Role::Consumer).await?;
        let dead = self.broker.queue(self.stage.vhost(), DEAD).await?;
        let counted = Page {
            sent: said::sent(&self.stage.log(Role::Producer).await?),
            received: said::received(&self.stage.log(Role::Consumer).await?),
            rows: self.stage.rows().await?,
            dead: dead.map_or(0, |queue| queue.ready + queue.unacked),
        };
        Ok(page(&counted, self.talk))
    }

    async fn cleared(&self, begun: Instant, words: &str) -> Result<()> {
        self.until("the queue is cleared", SOON, |now| {
            now.depth == 0 && now.consumers > 0
        })
        .await?;
        self.talk
            .good(&format!("cleared after {:.1?}: {words}", begun.elapsed()));
        Ok(())
    }

    /// Draws the queue until it is as wanted.
    async fn until(
        &self,
        expected: &str,
        patience: Duration,
        mut wanted: impl FnMut(Sight) -> bool,
    ) -> Result<Sight> {
        let begun = Instant::now();
        loop {
            let now = self.look().await?;
            self.talk.bar(now.depth);
            if wanted(now) {
                return Ok(now);
            }
            self.all_well().await?;
            if begun.elapsed() > patience {
                let Sight { depth, consumers } = now;
                return Err(unexpected(
                    format!("{expected}, within {patience:?}"),
                    format!("{depth} messages at the broker, {consumers} consumers"),
                ));
            }
            sleep(LOOK).await;
        }
    }

    async fn until_log(
        &self,
        role: Role,
        expected: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while !wanted(&self.stage.log(role).await?) {
            self.all_well().await?;
            if begun.elapsed() > SOON {
                let expected = format!("{expected}, within {SOON:?}");
                return Err(unexpected(expected, "it did not come"));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Looks at the broker itself, past every cable.
    async fn look(&self) -> Result<Sight> {
        let queue = self.broker.queue(self.stage.vhost(), QUEUE).await;
        let queue = queue.context("the broker does not tell of its queue")?;
        let queue = queue.context("the broker has no queue `messages`")?;
        Ok(Sight {
            depth: queue.ready + queue.unacked,
            consumers: queue.consumers.unwrap_or(0),
        })
    }

    /// Whether all who should run do.
    async fn all_well(&self) -> Result<()> {
        for role in &self.on_stage {
            if let Some(end) = self.stage.ended(*role).await? {
                return Err(unexpected(
                    format!("the {} keeps running", role.name()),
                    format!("it ended: {end}"),
                ));
            }
        }
        Ok(())
    }
}
