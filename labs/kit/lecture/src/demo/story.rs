//! The story of the lecture in six acts: a queue between two machines, and a pulled cable.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::testbed::{
    HEARTBEAT_S, NOTICED, Observer, QueueState, RATE, Role, SOON, Testbed, count_sent,
};

use super::narrator::Narrator;
use super::summary::print_summary;

/// How many messages wait before the consumer starts, where nobody presses Enter.
const ENOUGH: u64 = 40;

/// The story on its testbed.
struct Story<'a, T> {
    observer: Observer<'a, T>,
    narrator: &'a Narrator,
}

/// Tells the whole story. False when a message was lost.
///
/// # Errors
/// A [`check::Failure`] when it does not go as told, or trouble of this machine.
pub async fn tell_story(testbed: &impl Testbed, narrator: &Narrator) -> Result<bool> {
    let story = start_vm_a(testbed, narrator).await?;
    story.let_the_queue_grow().await?;
    story.start_the_consumer().await?;
    story.pull_the_cable().await?;
    story.plug_in_the_cable().await?;
    story.count_what_was_lost().await
}

/// The first act, which makes the broker that the others observe.
async fn start_vm_a<'a, T: Testbed>(
    testbed: &'a T,
    narrator: &'a Narrator,
) -> Result<Story<'a, T>> {
    narrator.begin_act(1, "VM A comes up");
    narrator.say("On VM A the broker starts, and then the producer. VM B is still off.");
    let begun = Instant::now();
    let broker = testbed.start_broker().await?;
    let (version, vhost, took) = (&broker.version, testbed.vhost(), begun.elapsed());
    narrator.report_good(&format!(
        "the broker is up after {took:.1?}: {version}, vhost {vhost}"
    ));
    let observer = Observer::new(testbed, broker, |depth| narrator.draw_queue(depth));
    observer.start(Role::Producer).await?;
    let confirmed = |log: &str| count_sent(log).confirmed > 0;
    observer
        .wait_for_log(Role::Producer, "the producer's first confirm", confirmed)
        .await?;
    narrator.report_good(&format!(
        "the producer sends {RATE} messages a second, and the broker confirms them"
    ));
    Ok(Story { observer, narrator })
}

impl<T: Testbed> Story<'_, T> {
    async fn let_the_queue_grow(&self) -> Result<()> {
        self.narrator
            .begin_act(2, "The producer works, and nobody listens");
        self.narrator.say(
            "The consumer is down. The producer does not know this and need not know it: each \
             message waits in the queue on VM A, on disk, until a consumer takes it.",
        );
        let enough = |depth| depth >= ENOUGH;
        let waiting = self.grow("starts the consumer on VM B", enough).await?;
        self.narrator
            .report(&format!("{waiting} messages wait for a consumer"));
        Ok(())
    }

    async fn start_the_consumer(&self) -> Result<()> {
        self.narrator.begin_act(3, "The consumer starts on VM B");
        let begun = Instant::now();
        self.observer.start(Role::Consumer).await?;
        let words = "the consumer took all waiting messages, and now takes each as it arrives";
        self.wait_until_cleared(begun, words).await?;
        self.narrator.wait_for_enter("pulls the cable").await;
        Ok(())
    }

    async fn pull_the_cable(&self) -> Result<()> {
        self.narrator.begin_act(4, "The cable is pulled");
        self.narrator.say(&format!(
            "Nothing tells either end: no packet says that packets no longer arrive. Only the \
             heartbeat does. Both ends agreed on {HEARTBEAT_S} s: an end that hears nothing for \
             two heartbeats gives up the connection."
        ));
        let testbed = self.observer.testbed;
        let before = testbed.log(Role::Consumer).await?.lines().count();
        let pulled = Instant::now();
        testbed.pull_cable().await?;
        let tell = |event: &str| self.narrator.report(event);
        self.observer
            .wait_until_both_notice(pulled, before, tell)
            .await?;
        // Longer than two heartbeats, however early both have noticed.
        let long = Duration::from_millis(HEARTBEAT_S * 3500);
        let enough = |depth| depth > 0 && pulled.elapsed() >= long;
        self.grow("plugs it in again", enough).await?;
        let out = pulled.elapsed();
        self.narrator.report(&format!(
            "the cable was out for {out:.1?}; the producer worked all the time"
        ));
        Ok(())
    }

    async fn plug_in_the_cable(&self) -> Result<()> {
        self.narrator.begin_act(5, "The cable is plugged in");
        self.narrator.say(
            "Nobody restarts anything. The consumer has tried to reconnect all the time, with \
             pauses that grow up to 2 s.",
        );
        let plugged = Instant::now();
        self.observer.testbed.plug_in_cable().await?;
        self.observer
            .wait_until("the consumer is back", NOTICED, |now| now.consumers > 0)
            .await?;
        let back = plugged.elapsed();
        self.narrator
            .report(&format!("the consumer is back after {back:.1?}"));
        self.wait_until_cleared(plugged, "the queue is empty again")
            .await?;
        self.narrator.wait_for_enter("counts what was lost").await;
        Ok(())
    }

    async fn count_what_was_lost(&self) -> Result<bool> {
        self.narrator.begin_act(6, "What was lost?");
        self.narrator
            .say("The producer is stopped, and the consumer empties the queue.");
        let counts = self.observer.stop_and_count().await?;
        Ok(print_summary(&counts, self.narrator))
    }

    /// Lets the queue grow until somebody presses Enter, or until it is deep `enough` where
    /// nobody can. `what` tells what Enter does. Returns the queue's depth.
    async fn grow(&self, what: &str, enough: impl Fn(u64) -> bool) -> Result<u64> {
        let observer = &self.observer;
        let grown = match self.narrator.offer_enter(what) {
            None => {
                let enough = |now: QueueState| enough(now.depth);
                observer
                    .wait_until("a queue that grows", SOON, enough)
                    .await?
            }
            // A person takes the time that they need.
            Some(mut enter) => {
                let pressed = |_| enter.was_pressed();
                observer.wait_until("Enter", Duration::MAX, pressed).await?
            }
        };
        Ok(grown.depth)
    }

    async fn wait_until_cleared(&self, begun: Instant, words: &str) -> Result<()> {
        let is_cleared = |now: QueueState| now.depth == 0 && now.consumers > 0;
        self.observer
            .wait_until("the queue is cleared", SOON, is_cleared)
            .await?;
        let took = begun.elapsed();
        self.narrator
            .report_good(&format!("cleared after {took:.1?}: {words}"));
        Ok(())
    }
}
