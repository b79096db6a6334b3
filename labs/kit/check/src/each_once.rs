//! Waits until each message has had its effect exactly once.

use std::time::Duration;

use super::wait::LOOK_AGAIN;
use super::{DEADLINE, Failure, Lab, Outcome, Span, fail};

/// How long the queue must stay empty before a missing message counts as lost.
const NOTHING_LEFT: Duration = Duration::from_millis(1500);

impl Lab {
    /// Waits until `look` returns each of `ids` exactly once, in any order, and returns what
    /// `look` saw. A failure says `expected`.
    ///
    /// # Errors
    /// A failure that explains from the journal what became of the first missing message: after
    /// [`DEADLINE`], or as soon as `queue`, if it is named, stays empty.
    pub async fn each_once(
        &self,
        expected: &str,
        queue: Option<&str>,
        ids: &[String],
        look: impl AsyncFnMut() -> Outcome<Vec<String>>,
    ) -> Outcome<Vec<String>> {
        let missing = |seen: &str, id: &str| self.missing(expected, seen, id);
        self.wait_for_each(expected, queue, ids, look, missing)
            .await
    }

    /// As [`Lab::each_once`], where `consumer` must get a copy of each message.
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
        self.wait_for_each(expected, queue, ids, look, missing)
            .await
    }

    async fn wait_for_each(
        &self,
        expected: &str,
        queue: Option<&str>,
        ids: &[String],
        mut look: impl AsyncFnMut() -> Outcome<Vec<String>>,
        explain: impl Fn(&str, &str) -> Failure,
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
                // Perhaps the effect is there under another id, which the sender does not know.
                let others = seen.iter().filter(|id| !ids.contains(id)).count();
                if others > 0 {
                    sum += &format!(", and {others} with other ids");
                }
                let missing = explain(&sum, missing);
                let missing = match others {
                    0 => missing,
                    _ => missing
                        .because("under another id, a redelivered message has its effect twice"),
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
        Some(id) => Err(fail(expected, format!("{id} appears more than once"))
            .because("the broker may deliver a message twice; its effect must happen once")
            .into()),
        None => Ok(seen),
    }
}
