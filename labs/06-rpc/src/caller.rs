//! A call: a request goes out, and an answer comes back, or not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use futures_lite::StreamExt;
use lapin::Connection;
use lapin::types::ShortString;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::line::{Line, ReplyTo};
use crate::pending::Pending;

/// Asks the user service, for any number of callers at once.
pub struct Caller {
    deadline: Duration,
    reply_to: ReplyTo,
    pending: Pending,
    line: Mutex<Option<Line>>,
}

/// Why there is no answer.
pub enum NoAnswer {
    /// None came by the deadline. The request may have been served, or be served yet.
    TooLate,
    /// We are not connected, or were disconnected while we waited.
    Disconnected(Error),
    /// One came that cannot be read.
    Garbled(Error),
}

impl Caller {
    /// Calls end at `deadline`.
    pub fn new(deadline: Duration, reply_to: ReplyTo) -> Self {
        Self {
            deadline,
            reply_to,
            pending: Pending::default(),
            line: Mutex::default(),
        }
    }

    /// How many calls are under way.
    pub fn pending(&self) -> usize {
        self.pending.count()
    }

    /// Asks for a user.
    ///
    /// # Errors
    /// When there is no answer. One that says that there is no such user is an answer.
    pub async fn ask(&self, id: u32) -> Result<Answer, NoAnswer> {
        let line = self.line().clone().context("there is no broker");
        let line = line.map_err(NoAnswer::Disconnected)?;
        // HOLE 5: enter the call, send it, wait for the answer: all of it by the deadline.
        // Naive: an answer comes, sooner or later.
        let mut ticket = self.pending.enter();
        let sent = line.send(id, &ticket.correlation_id, self.deadline).await;
        sent.map_err(NoAnswer::Disconnected)?;
        let body = ticket.answer().await.map_err(NoAnswer::Disconnected)?;
        // END HOLE 5
        Answer::read(&body).map_err(NoAnswer::Garbled)
    }

    /// Keeps a line open, and hands out the answers that come in, until `shutdown`.
    pub async fn run(&self, url: &str, shutdown: &CancellationToken) -> Result<()> {
        messaging::keep(url, shutdown, async |connection| {
            self.receive(connection, shutdown).await
        })
        .await
    }

    async fn receive(&self, connection: &Connection, shutdown: &CancellationToken) -> Result<()> {
        let (line, mut answers) = Line::open(connection, self.reply_to).await?;
        *self.line() = Some(line);
        let _hang_up = HangUp(self);
        log::info!("ready");
        while let Some(next) = shutdown.run_until_cancelled(answers.next()).await {
            let answer = next.context("the broker ended the subscription")??;
            let id = answer.properties.correlation_id().as_ref();
            self.pending
                .settle(id.map(ShortString::as_str), answer.data);
        }
        Ok(())
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        // Nothing that is done under the lock can leave it half changed.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However a connection ends: what was asked over it will not be answered any more.
struct HangUp<'a>(&'a Caller);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        *self.0.line() = None;
        self.0.pending.give_up();
    }
}
