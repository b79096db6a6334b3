//! Time as a check counts it: without the time that the programs waited for a busy machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;

use super::wait::LOOK_AGAIN;
use super::{Failure, Lab, Outcome, Stop};
use process::pressure::{Lost, Watch};

/// However busy the machine is, one second in so many counts, so that every wait ends.
const MOST: u32 = 5;
/// When a larger part of a span was lost, its length proves nothing.
const TOO_MUCH: f64 = 0.4;

/// From a moment to now, or to another moment.
#[derive(Debug, Clone)]
pub struct Span {
    watch: Arc<Watch>,
    from: Instant,
    to: Option<Instant>,
}

impl Lab {
    /// A span that begins now.
    #[must_use]
    pub fn span(&self) -> Span {
        Span {
            watch: self.0.watch.clone(),
            from: Instant::now(),
            to: None,
        }
    }

    /// A span that began with the check.
    pub(crate) fn since_start(&self) -> Span {
        Span {
            from: self.journal().moment(0.0),
            ..self.span()
        }
    }

    /// A span between two times of the journal, in seconds since the check began.
    #[must_use]
    pub fn between(&self, from: f64, to: f64) -> Span {
        Span {
            watch: self.0.watch.clone(),
            from: self.journal().moment(from),
            to: Some(self.journal().moment(to)),
        }
    }
}

impl Span {
    /// A span that begins now, for what no single check does.
    pub(crate) fn watched(watch: Arc<Watch>) -> Self {
        Self {
            watch,
            from: Instant::now(),
            to: None,
        }
    }

    /// How long it was by the clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let to = self.to.unwrap_or_else(Instant::now);
        to.saturating_duration_since(self.from)
    }

    /// This span, ended now.
    #[must_use]
    pub fn end(mut self) -> Self {
        self.to = Some(Instant::now());
        self
    }

    fn lost(&self) -> Lost {
        let to = self.to.unwrap_or_else(Instant::now);
        self.watch.lost(self.from, to)
    }

    /// How long it was, without the lost time: the program took at least this long.
    #[must_use]
    pub fn took(&self) -> Duration {
        let elapsed = self.elapsed();
        elapsed
            .saturating_sub(self.lost().all())
            .max(elapsed / MOST)
    }

    /// Whether the program took longer than `limit`.
    #[must_use]
    pub fn exceeds(&self, limit: Duration) -> bool {
        self.elapsed() > limit && self.took() > limit
    }

    /// Waits for `future` until the span exceeds `limit`; `None` when it does.
    pub async fn limit<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let over = async {
            while !self.exceeds(limit) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            None
        };
        async { Some(future.await) }.or(over).await
    }

    /// Fails when the span is longer than `limit`: for an upper bound that is the lesson itself.
    ///
    /// # Errors
    /// The failure when the span exceeds `limit`; unknown when perhaps only the busy machine made
    /// it so long.
    pub fn at_most(&self, limit: Duration, failure: Failure) -> Outcome {
        self.decide(self.elapsed() <= limit, self.took() <= limit, failure)
    }

    /// Fails when the span is shorter than `limit`: for a lower bound that is the lesson itself.
    /// A pause that the busy machine made does not count.
    ///
    /// # Errors
    /// The failure when the span is shorter than `limit`; unknown when perhaps only the busy
    /// machine made it so long.
    pub fn at_least(&self, limit: Duration, failure: Failure) -> Outcome {
        self.decide(self.took() >= limit, self.elapsed() >= limit, failure)
    }

    /// Decides about a bound that was `surely` kept, or only `possibly`, because time was lost.
    ///
    /// # Errors
    /// The failure when it was not kept; unknown when it was possibly kept.
    pub fn decide(&self, surely: bool, possibly: bool, failure: Failure) -> Outcome {
        match (surely, possibly) {
            (true, _) => Ok(()),
            (false, true) => Err(self.too_busy(&failure)),
            (false, false) => self.judge(Err(failure.into())),
        }
    }

    /// Judges an outcome that depends on how long the span took.
    ///
    /// # Errors
    /// The failure; unknown instead, when too much of the span was lost.
    pub fn judge<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        match outcome {
            Err(Stop::Failed(failure))
                if !failure.proven && self.lost().all() > self.elapsed().mul_f64(TOO_MUCH) =>
            {
                Err(self.too_busy(&failure))
            }
            outcome => outcome,
        }
    }

    fn too_busy(&self, failure: &Failure) -> Stop {
        Stop::Unknown(format!(
            "this machine was too busy: {}. Close other programs, then run this check again.\n\
             Expected: {}. Observed: {}.",
            self.lost_time(),
            failure.expected,
            failure.observed,
        ))
    }

    /// How much time was lost, and to what, for a person to read.
    pub(super) fn lost_time(&self) -> String {
        let (elapsed, lost) = (self.elapsed(), self.lost());
        let seconds = |time: Duration| time.min(elapsed).as_secs_f64();
        format!(
            "of {:.1} s, the programs waited {:.1} s for a processor and {:.1} s for the disk, \
             because other programs used them",
            seconds(elapsed),
            seconds(lost.processor),
            seconds(lost.disk),
        )
    }
}
