//! The calls in progress: each waits for its answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use uuid::Uuid;

/// For each correlation id the call that waits for the answer with it.
type Table = HashMap<String, oneshot::Sender<Vec<u8>>>;

/// The table of the calls in progress.
#[derive(Default)]
pub struct Pending(Mutex<Table>);

/// A call's place in the table.
pub struct Ticket<'a> {
    /// The call's key in the table. No other call ever has the same.
    pub correlation_id: String,
    answer: oneshot::Receiver<Vec<u8>>,
    pending: &'a Pending,
}

impl Pending {
    /// Enters a new call.
    pub fn enter(&self) -> Ticket<'_> {
        let correlation_id = Uuid::new_v4().to_string();
        let (waiting, answer) = oneshot::channel();
        self.table().insert(correlation_id.clone(), waiting);
        Ticket {
            correlation_id,
            answer,
            pending: self,
        }
    }

    /// Gives an answer to the call that waits for it.
    pub fn settle(&self, correlation_id: Option<&str>, body: Vec<u8>) {
        // HOLE 4: to the one call that waits for it, once; log and ignore any other answer.
        // Naive: one call at a time, so the answer is for whichever call waits.
        for (_, waiting) in self.table().drain() {
            drop(waiting.send(body.clone()));
        }
        // END HOLE 4
    }

    /// Ends all calls: no answer can reach them any more.
    pub fn give_up(&self) {
        self.table().clear();
    }

    /// How many calls are in progress.
    pub fn count(&self) -> usize {
        self.table().len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Whatever panicked under the lock, the table is whole: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// When no answer will come.
    pub async fn answer(&mut self) -> Result<Vec<u8>> {
        let answer = (&mut self.answer).await;
        answer.context("the connection ended before the answer came")
    }
}

/// However a call ends, its ticket is dropped.
impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        // HOLE 6: leave the table.
        // Naive: an answered call has left the table, and every call is answered.
        // END HOLE 6
    }
}
