//! A call: send a request, and wait for its answer until the deadline.

use std::time::Duration;

use anyhow::{Context, Error, Result};
use futures_lite::StreamExt;
use lapin::Connection;
use lapin::types::ShortString;
use tokio::sync::watch;
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
    /// None while there is no connection.
    line: watch::Sender<Option<Line>>,
}

/// Why there is no answer.
pub enum NoAnswer {
    /// None came by the deadline. The request may still have been served, or be served later.
    TooLate,
    /// There is no connection, or it ended during the call.
    Disconnected(Error),
    /// An answer came, and cannot be read.
    Garbled(Error),
}

impl Caller {
    /// Each call ends by `deadline`.
    pub fn new(deadline: Duration, reply_to: ReplyTo) -> Self {
        Self {
            deadline,
            reply_to,
            pending: Pending::default(),
            line: watch::Sender::default(),
        }
    }

    /// How many calls are in progress.
    pub fn pending(&self) -> usize {
        self.pending.count()
    }

    /// Asks for a user.
    ///
    /// # Errors
    /// When there is no answer. [`Answer::Error`] is an answer.
    pub async fn ask(&self, id: u32) -> Result<Answer, NoAnswer> {
        let line = self.line.borrow().clone().context("not connected");
        let line = line.map_err(NoAnswer::Disconnected)?;
        // HOLE 5: end the call by the deadline, for the caller and for the broker.
        // Naive: an answer comes, sooner or later.
        let mut ticket = self.pending.enter();
        let sent = line.send(id, &ticket.correlation_id, None).await;
        sent.map_err(NoAnswer::Disconnected)?;
        let body = ticket.answer().await.map_err(NoAnswer::Disconnected)?;
        // END HOLE 5
        Answer::read(&body).map_err(NoAnswer::Garbled)
    }

    /// Keeps a line open, and gives each answer to its call, until `shutdown`.
    pub async fn run(&self, url: &str, shutdown: &CancellationToken) -> Result<()> {
        messaging::keep(url, shutdown, async |connection| {
            self.receive(connection, shutdown).await
        })
        .await
    }

    async fn receive(&self, connection: &Connection, shutdown: &CancellationToken) -> Result<()> {
        let (line, mut answers) = Line::open(connection, self.reply_to).await?;
        self.line.send_replace(Some(line));
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
}

/// However a connection ends: no call over it can be answered any more.
struct HangUp<'a>(&'a Caller);

impl Drop for HangUp<'_> {
    fn drop(&mut self) {
        self.0.line.send_replace(None);
        self.0.pending.give_up();
    }
}
