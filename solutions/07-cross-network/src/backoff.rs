//! How long to wait before the next try.

use std::time::Duration;

/// The first pause is at most this long.
const FIRST: Duration = Duration::from_millis(250);

/// No pause is longer: a broker that is back is noticed within this time.
const LONGEST: Duration = Duration::from_secs(2);

/// A connection that has lasted so long was a good one: what ends it is a new trouble, and
/// not the old one again.
const STEADY: Duration = LONGEST;

/// The pauses between tries, over all of the program's life.
#[derive(Default)]
pub struct Backoff {
    /// How many tries in a row came to nothing.
    failures: u32,
}

impl Backoff {
    /// The pause after a try, and a session if it came to that, which `lasted` so long.
    pub fn pause(&mut self, lasted: Duration) -> Duration {
        // HOLE 4: twice as long each time, up to LONGEST, a part of it random; see STEADY.
        // ANCHOR: pause
        if lasted >= STEADY {
            self.failures = 0;
        }
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let most = doubled.min(LONGEST);
        // At least half of it, so that the broker gets a rest, and the other half by chance:
        // all who lost the same broker at the same moment shall not come back at the same one.
        rand::random_range(most / 2..=most)
        // ANCHOR_END: pause
        // END HOLE 4
    }
}
