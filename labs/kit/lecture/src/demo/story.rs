//! The lecture's demonstration, act by act.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::page::page;
use super::said;
use super::stage::{HEARTBEAT_S, RATE, Role, Stage};
use super::talk::Talk;
use super::watch::{NOTICED, SOON, Sight, Watch};

/// How much waits before the consumer comes, when nobody says that it is enough.
const ENOUGH: u64 = 40;

/// The story on its stage.
struct Story<'a, S> {
    watch: Watch<'a, S>,
    talk: &'a Talk,
}

/// Plays it all. False when a message was lost.
///
/// # Errors
/// When it does not go as told ([`super::stage::Unexpected`]), or this machine has trouble.
pub async fn play(stage: &impl Stage, talk: &Talk) -> Result<bool> {
    let story = first_act(stage, talk).await?;
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
    let watch = Watch::new(stage, broker, Some(talk));
    watch.start(Role::Producer).await?;
    let confirmed = |log: &str| said::sent(log).confirmed > 0;
    watch
        .until_log(Role::Producer, "the producer's first confirm", confirmed)
        .await?;
    talk.good(&format!(
        "the producer sends {RATE} messages a second, and the broker confirms them"
    ));
    Ok(Story { watch, talk })
}

impl<S: Stage> Story<'_, S> {
    async fn nobody_listens(&self) -> Result<()> {
        self.talk.act(2, "The producer works, and nobody listens");
        self.talk.say(
            "The consumer is down. The producer does not know and need not know: each message \
             waits in the queue on VM A, on disk, until somebody takes it.",
        );
        let enough = |depth| depth >= ENOUGH;
        let waiting = self.grow("starts the consumer on VM B", enough).await?;
        self.talk
            .note(&format!("{waiting} messages wait for a consumer"));
        Ok(())
    }

    async fn the_consumer_comes(&self) -> Result<()> {
        self.talk.act(3, "The consumer starts on VM B");
        let begun = Instant::now();
        self.watch.start(Role::Consumer).await?;
        let words = "the consumer took all that waited, and from now on each message as it comes";
        self.cleared(begun, words).await?;
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
        let stage = self.watch.stage;
        let before = stage.log(Role::Consumer).await?.lines().count();
        let pulled = Instant::now();
        stage.pull().await?;
        let tell = |words: &str| self.talk.note(words);
        self.watch.both_notice(pulled, before, tell).await?;
        // Longer than two heartbeats in any case.
        let long = Duration::from_millis(HEARTBEAT_S * 3500);
        let enough = |depth| depth > 0 && pulled.elapsed() >= long;
        self.grow("plugs it in again", enough).await?;
        let out = pulled.elapsed();
        self.talk.note(&format!(
            "the cable was out for {out:.1?}; the producer went on all the time"
        ));
        Ok(())
    }

    async fn plugged_in(&self) -> Result<()> {
        self.talk.act(5, "The cable is plugged in");
        self.talk.say(
            "Nobody restarts anything. The consumer has been trying all the time, with pauses \
             that grow to 2 s and no further.",
        );
        let plugged = Instant::now();
        self.watch.stage.plug().await?;
        self.watch
            .until("the consumer is back", NOTICED, |now| now.consumers > 0)
            .await?;
        let back = plugged.elapsed();
        self.talk
            .note(&format!("the consumer is back after {back:.1?}"));
        self.cleared(plugged, "the queue is empty again").await?;
        self.talk.pause("counts what was lost").await;
        Ok(())
    }

    async fn last_page(&self) -> Result<bool> {
        self.talk.act(6, "What was lost?");
        self.talk
            .say("The producer is told to stop, and the queue runs dry.");
        let counted = self.watch.count().await?;
        Ok(page(&counted, self.talk))
    }

    /// Lets the queue grow until somebody presses Enter, which does `what`; where nobody can,
    /// until it is deep `enough`. Gives its depth.
    async fn grow(&self, what: &str, enough: impl Fn(u64) -> bool) -> Result<u64> {
        let watch = &self.watch;
        let grown = match self.talk.ask(what) {
            None => {
                let enough = |now: Sight| enough(now.depth);
                watch.until("a queue that grows", SOON, enough).await?
            }
            // Nobody is hurried.
            Some(mut enter) => {
                let pressed = |_| enter.was_pressed();
                watch.until("Enter", Duration::MAX, pressed).await?
            }
        };
        Ok(grown.depth)
    }

    async fn cleared(&self, begun: Instant, words: &str) -> Result<()> {
        self.watch
            .until("the queue is cleared", SOON, |now| {
                now.depth == 0 && now.consumers > 0
            })
            .await?;
        let took = begun.elapsed();
        self.talk
            .good(&format!("cleared after {took:.1?}: {words}"));
        Ok(())
    }
}
