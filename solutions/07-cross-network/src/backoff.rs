//! How long to wait before the next attempt.

use std::time::Duration;

/// The first pause is at most this long.
const FIRST: Duration = Duration::from_millis(250);

/// No pause is longer, so a broker that is back is noticed within this time.
const LONGEST: Duration = Duration::from_secs(2);

/// A connection that lasted this long was a good one: its end is a new failure, and not the
/// old one again.
const STEADY: Duration = LONGEST;

/// The pauses between attempts, over the program's whole life.
#[derive(Default)]
pub struct Backoff {
    /// How many attempts in a row have failed.
    failures: u32,
}

impl Backoff {
    /// The pause after an attempt that `lasted` this long, its session included.
    pub fn pause(&mut self, lasted: Duration) -> Duration {
        // HOLE 7: twice as long each time, up to LONGEST, part of it random; see STEADY.
        // ANCHOR: pause
        if lasted >= STEADY {
            self.failures = 0;
        }
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let most = doubled.min(LONGEST);
        // Half of it at least: the broker gets a rest. The other half is jitter: clients that
        // lost the broker together must not reconnect together.
        rand::random_range(most / 2..=most)
        // ANCHOR_END: pause
        // END HOLE 7
    }
}
