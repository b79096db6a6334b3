//! The calls that wait for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Correlation ids, and who waits for the answer that carries them.
type Table = HashMap<String, oneshot::Sender<Vec<u8>>>;

/// The table of calls that are under way. Clones share it.
#[derive(Clone, Default)]
pub struct Pending(Arc<Mutex<Table>>);

/// A call's place in the table.
pub struct Ticket {
    /// Under which the call stands in the table, and no other call ever will.
    pub correlation_id: String,
    answer: oneshot::Receiver<Vec<u8>>,
    pending: Pending,
}

impl Pending {
    /// Enters a new call.
    pub fn enter(&self) -> Ticket {
        let correlation_id = Uuid::new_v4().to_string();
        let (waiting, answer) = oneshot::channel();
        self.table().insert(correlation_id.clone(), waiting);
        Ticket {
            correlation_id,
            answer,
            pending: self.clone(),
        }
    }

    /// Gives an answer to the call that it is for.
    pub fn settle(&self, correlation_id: Option<&str>, body: Vec<u8>) {
        // HOLE 4: to the one call that it is for, once; ignore and log what is for nobody.
        todo!("HOLE 4: give the answer to the call that it is for")
        // END HOLE 4
    }

    /// Tells all calls that no answer will come any more.
    pub fn give_up(&self) {
        self.table().clear();
    }

    /// How many calls are under way.
    pub fn count(&self) -> usize {
        self.table().len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that is done under the lock leaves the table half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The answer, once it is there.
    ///
    /// # Errors
    /// When no answer will come.
    pub async fn answer(&mut self) -> Result<Vec<u8>> {
        let answer = &mut self.answer;
        answer.await.context("the way back for the answer is gone")
    }
}

/// However a call ends, its ticket is dropped.
impl Drop for Ticket {
    fn drop(&mut self) {
        // HOLE 6: leave the table.
        // Naive: whoever was answered has left the table, and everybody is answered.
        // END HOLE 6
    }
}
