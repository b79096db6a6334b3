//! What a service may take: it gives back what it takes, and does nothing without end.

use std::time::Duration;

use audit::{Links, Repeats, Usage};

use super::{Failure, Lab, Outcome, Seen, Service, Topic, expect, fail};

/// A run of all checks takes a few seconds; this is the deadline for all that they wait for.
pub const LONGEST: Duration = Duration::from_secs(40);
/// How long a service may take to close what it no longer needs.
const TIDY: Duration = Duration::from_secs(3);
/// Memory is steady when it changes by less than this many bytes from one look to the next.
const STEADY: u64 = 128 << 10;
/// The time between two such looks, and how many there are at most.
const APART: Duration = Duration::from_millis(60);
const MOST_LOOKS: usize = 20;
/// A service of this lab needs a hundredth of this.
const MOST_MEMORY: u64 = 1 << 30;
/// The most that a service prints in one check, in bytes: the log of a right answer has a tenth of it.
const MOST_PRINTED: u64 = 4 << 20;

impl Lab {
    /// Checks that `services` take no more with more work: calls `work(count)` twice, and compares
    /// what they hold after each; where only memory or threads grew, once more. `work` does `count` operations,
    /// and returns when they are done; `what` is their plural, `calls`. One more connection, channel or thread for each ten
    /// operations is a leak, and so are 3 MiB of memory: choose a count and bodies that exceed that if
    /// they are kept.
    ///
    /// # Errors
    /// A failure that names what grows, and those of `work`.
    pub async fn frugal(
        &self,
        services: &[&Service],
        count: usize,
        what: &str,
        mut work: impl AsyncFnMut(usize) -> Outcome,
    ) -> Outcome {
        work(count).await?;
        let first = self.usages(services).await?;
        work(count).await?;
        let held = self.hold_the_same(services, &first, count, what).await;
        let Err(leak) = held else { return Ok(()) };
        let second = self.usages(services).await?;
        let leaks = first.iter().zip(&second);
        let mut leaks = leaks.filter_map(|(before, after)| before.leak(after, count));
        if leaks.any(|what| !audit::MAYBE_KEPT.contains(&what)) {
            return Err(leak);
        }
        // What is kept for later is a leak when it goes on to grow.
        work(count).await?;
        self.hold_the_same(services, &second, count, what).await
    }

    async fn hold_the_same(
        &self,
        services: &[&Service],
        before: &[Usage],
        count: usize,
        what: &str,
    ) -> Outcome {
        for (service, before) in services.iter().zip(before) {
            let name = service.name();
            let expected = format!("{name} holds the same after {count} more {what}");
            let why =
                "what each operation takes and none gives back is used up one day, in production";
            self.eventually_within(TIDY, &expected, why, async || {
                let after = self.usage(service).await?;
                let leak = before.leak(&after, count);
                Ok(Seen::when(leak.is_none(), || {
                    let grows = leak.unwrap_or_default();
                    let s = if leak == Some(audit::MEMORY) { "s" } else { "" };
                    format!("its {grows} grow{s}: first {before}; then {after}")
                }))
            })
            .await?;
        }
        Ok(())
    }

    async fn usages(&self, services: &[&Service]) -> Outcome<Vec<Usage>> {
        let mut all = Vec::new();
        for service in services {
            all.push(self.usage(service).await?);
        }
        Ok(all)
    }

    async fn usage(&self, service: &Service) -> Outcome<Usage> {
        Ok(Usage {
            links: Links::of(self.journal(), &service.name()),
            threads: service.all_threads(),
            memory: self.settled_memory(service).await?,
        })
    }

    /// How much memory a service takes once it has taken in what has crossed the wire.
    async fn settled_memory(&self, service: &Service) -> Outcome<u64> {
        let mut before = service.memory().await?;
        for _ in 0..MOST_LOOKS {
            tokio::time::sleep(APART).await;
            let now = service.memory().await?;
            if now.abs_diff(before) < STEADY {
                break;
            }
            before = now;
        }
        Ok(before)
    }

    /// Fails when a service repeats something without end, or takes memory without end.
    pub(super) fn no_storm(&self) -> Outcome {
        let storm = self.0.storms.borrow_mut().look(self.journal());
        // An HTTP client may open a connection for each request; a broker's client may not.
        let broker = self.broker().is_some();
        if let Some(storm) = storm.filter(|storm| broker || storm.repeats != Repeats::Connect) {
            let topic = match storm.repeats {
                Repeats::Publish => Some(Topic::Publish),
                Repeats::Requeue => Some(Topic::Settle),
                Repeats::Connect | Repeats::Methods => None,
            };
            let mut failure = fail(
                "each thing done once, and a pause before it is tried again",
                storm.observed,
            );
            failure.hole = topic.map(self.0.config.hole_for);
            return Err(failure.because(storm.why).into());
        }
        // One service a look, because this is asked many times a second.
        let services = self.0.services.borrow();
        let look = self.0.looks.replace(self.0.looks.get() + 1);
        let Some(service) = services.get(look % services.len().max(1)) else {
            return Ok(());
        };
        let memory = service.resident().unwrap_or_default();
        let observed = format!("{} takes {} MiB", service.name(), memory >> 20);
        expect(memory <= MOST_MEMORY)
            .or("a service that takes a few MiB of memory", observed)
            .because("a service that takes more and more is killed by the system one day")?;
        let printed = service.printed();
        if printed <= MOST_PRINTED {
            return Ok(());
        }
        let (name, last) = (service.name(), service.last_words(1).join(""));
        let observed = format!("{name} has printed {} MiB, at last: {last}", printed >> 20);
        let why = "a log without end fills the disk; what is logged again and again is done again \
                   and again";
        let expected = "a few lines of log for each thing that it does";
        Err(fail(expected, observed).because(why).into())
    }

    /// The failure of a check that was not over when its run had taken `limit`.
    pub(crate) fn overdue(&self, limit: Duration) -> Failure {
        let waits_for = self.0.waits_for.borrow();
        let limit = limit.as_secs();
        fail(
            &*waits_for,
            format!("not yet, when the run had taken {limit} s"),
        )
        .because("each wait was short enough; together they are longer than anybody waits")
    }
}
