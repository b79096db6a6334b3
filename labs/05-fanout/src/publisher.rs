//! The producer's side: it knows an exchange, and not which services listen.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::{BasicProperties, Channel};
use messaging::{Outlet, Published};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{exchange, queue};

/// How long a caller waits for the confirm, connecting included.
const PATIENCE: Duration = Duration::from_secs(4);

/// Publishes to one exchange.
pub struct Publisher {
    exchange: &'static str,
    audience: &'static [&'static str],
    outlet: Outlet,
    /// lapin puts a returned message into the confirm that it resolves next, so only one
    /// publish at a time is in flight on the channel.
    turn: Mutex<()>,
}

impl Publisher {
    /// Connects at the first message. The services of the `audience` are promised each
    /// message; every other bound queue gets it, too.
    pub fn new(url: String, exchange: &'static str, audience: &'static [&'static str]) -> Self {
        Self {
            exchange,
            audience,
            outlet: Outlet::new(url),
            turn: Mutex::default(),
        }
    }

    /// Publishes `content` as JSON under `id`. An `Ok` is a promise: every bound queue has
    /// written it, and at least one queue is bound. After an error the message may have arrived
    /// all the same, so a caller that retries must use the same id.
    pub async fn publish(&self, id: Uuid, content: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(content).context("cannot write JSON")?;
        let deadline = Instant::now() + PATIENCE;
        let late = || format!("no confirm for message {id} within {PATIENCE:?}");
        let turn = timeout_at(deadline, self.turn.lock()).await;
        let _turn = turn.with_context(late)?;
        let sent = timeout_at(deadline, self.send(id, &body)).await;
        let outcome = sent.with_context(late).flatten();
        if outcome.is_err() {
            // Whatever failed: the next message gets a new channel, and new declarations.
            self.outlet.renew().await;
        }
        outcome
    }

    /// Declares what this producer publishes to; runs on each new channel.
    async fn prepare(&self, channel: &Channel) -> Result<()> {
        exchange::declare(channel, self.exchange).await?;
        // HOLE 6: each service of the audience needs its queue, bound, from now on.
        // Naive: only the queues that are bound by then get its messages.
        // END HOLE 6
        Ok(())
    }

    async fn send(&self, id: Uuid, body: &[u8]) -> Result<()> {
        let prepare = async |channel: &Channel| self.prepare(channel).await;
        let channel = self.outlet.prepared(prepare).await?;
        let properties = BasicProperties::default()
            .with_message_id(id.to_string().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2); // persistent
        let exchange = self.exchange;
        let published = messaging::publish(&channel, exchange, "", body, properties).await;
        match published.with_context(|| format!("message {id}"))? {
            Published::Routed => Ok(()),
            Published::Returned => {
                bail!("message {id} was returned: no queue is bound to exchange `{exchange}`")
            }
        }
    }
}
