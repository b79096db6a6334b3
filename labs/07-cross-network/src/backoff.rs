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
        // Naive: the same pause for every client, for ever.
        FIRST
        // END HOLE 7
    }
}
