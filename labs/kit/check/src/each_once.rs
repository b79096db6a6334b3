//! Waiting for messages to have their effect, each once.

use std::time::Duration;

use super::wait::LOOK_AGAIN;
use super::{DEADLINE, Failure, Lab, Outcome, Span, fail};

/// What is still missing when the queue has been empty for this long will not come any more.
const NOTHING_LEFT: Duration = Duration::from_millis(1500);

impl Lab {
    /// Waits until `look` shows each of `ids` exactly once, in any order, and gives what it
    /// shows. `expected` is the sentence for a failure.
    ///
    /// # Errors
    /// A failure that tells from the journal what became of the first message that is
    /// missing: at [`DEADLINE`], or, when a `queue` is named, once that stays empty without it.
    pub async fn each_once(
        &self,
        expected: &str,
        queue: Option<&str>,
        ids: &[String],
        look: impl AsyncFnMut() -> Outcome<Vec<String>>,
    ) -> Outcome<Vec<String>> {
        let missing = |seen: &str, id: &str| self.missing(expected, seen, id);
        self.arrive(expected, queue, ids, look, missing).await
    }

    /// As [`Lab::each_once`], where `consumer` should get a copy of each, whoever else does.
    ///
    /// # Errors
    /// As [`Lab::each_once`].
    pub async fn each_once_at(
        &self,
        consumer: &str,
        expected: &str,
        queue: Option<&str>,
        ids: &[String],
        look: impl AsyncFnMut() -> Outcome<Vec<String>>,
    ) -> Outcome<Vec<String>> {
        let missing = |seen: &str, id: &str| self.missing_at(consumer, expected, seen, id);
        self.arrive(expected, queue, ids, look, missing).await
    }

    async fn arrive(
        &self,
        expected: &str,
        queue: Option<&str>,
        ids: &[String],
        mut look: impl AsyncFnMut() -> Outcome<Vec<String>>,
        tell: impl Fn(&str, &str) -> Failure,
    ) -> Outcome<Vec<String>> {
        let span = self.span();
        let mut empty: Option<Span> = None;
        loop {
            let hopeless = empty
                .as_ref()
                .is_some_and(|span| span.exceeds(NOTHING_LEFT));
            let late = hopeless || span.exceeds(DEADLINE);
            let seen = look().await?;
            let Some(missing) = ids.iter().find(|id| !seen.contains(id)) else {
                return none_twice(expected, ids, seen);
            };
            self.all_well()?;
            if late {
                let there = ids.iter().filter(|id| seen.contains(id)).count();
                let mut sum = format!("{there} of {}", ids.len());
                // Under another id perhaps, which the sender could never ask for.
                let others = seen.iter().filter(|id| !ids.contains(id)).count();
                if others > 0 {
                    sum += &format!(", and {others} with other ids");
                }
                let missing = tell(&sum, missing);
                let missing = match others {
                    0 => missing,
                    _ => missing.because("under another id it counts twice when it comes twice"),
                };
                return span.judge(Err(missing.into()));
            }
            let idle = match queue {
                Some(name) => self.is_empty(name).await?,
                None => false,
            };
            empty = idle.then(|| empty.unwrap_or_else(|| self.span()));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_empty(&self, queue: &str) -> Outcome<bool> {
        let queue = self.queue(queue).await?;
        Ok(queue.is_none_or(|queue| queue.ready == 0 && queue.unacked == 0))
    }
}

fn none_twice(expected: &str, ids: &[String], seen: Vec<String>) -> Outcome<Vec<String>> {
    let twice = ids
        .iter()
        .find(|id| seen.iter().filter(|other| other == id).count() > 1);
    match twice {
        Some(id) => Err(fail(expected, format!("{id} is there more than once"))
            .because("a message may be delivered twice; its effect must come once")
            .into()),
        None => Ok(seen),
    }
}
