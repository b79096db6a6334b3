//! How long to wait before the next attempt.

use std::time::Duration;

/// A connection that lasted this long was a good one: its end is a new failure, and not the
/// old one again.
const STEADY: Duration = Duration::from_secs(2);

/// The pauses between attempts, over the program's whole life.
pub struct Backoff {
    /// The first pause is at most this long.
    first: Duration,
    /// No pause is longer, so a broker that is back is noticed within this time.
    longest: Duration,
    /// How many attempts in a row have failed.
    failures: u32,
}

impl Backoff {
    /// Pauses of `longest` at most.
    pub fn new(longest: Duration) -> Self {
        Self {
            first: Duration::from_millis(250).min(longest),
            longest,
            failures: 0,
        }
    }

    /// The pause after an attempt that `lasted` this long, its session included.
    pub fn pause(&mut self, lasted: Duration) -> Duration {
        // HOLE 7: twice as long each time, up to `longest`, part of it random; see STEADY.
        // ANCHOR: pause
        if lasted >= STEADY {
            self.failures = 0;
        }
        let factor = 2_u32.saturating_pow(self.failures);
        let doubled = self.first.saturating_mul(factor);
        self.failures = self.failures.saturating_add(1);
        let most = doubled.min(self.longest);
        // Half of it at least: the broker gets a rest. The other half is jitter: clients that
        // lost the broker together must not reconnect together.
        rand::random_range(most / 2..=most)
        // ANCHOR_END: pause
        // END HOLE 7
    }
}
