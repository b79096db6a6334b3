//! The producer's side: it knows an exchange, and not who listens.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use messaging::Outlet;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{exchange, queue};

/// How long a caller waits for the broker's word, connecting included.
const PATIENCE: Duration = Duration::from_secs(4);

/// Publishes to one exchange.
pub struct Publisher {
    exchange: &'static str,
    audience: &'static [&'static str],
    outlet: Outlet,
    /// lapin puts a returned message into the confirm that it resolves next. So there is one
    /// message at a time on the channel.
    turn: Mutex<()>,
}

impl Publisher {
    /// Connects at the first message. The services of the `audience` are those that are
    /// promised each message; whoever else is bound gets it, too.
    pub fn new(url: String, exchange: &'static str, audience: &'static [&'static str]) -> Self {
        Self {
            exchange,
            audience,
            outlet: Outlet::new(url),
            turn: Mutex::default(),
        }
    }

    /// Publishes `content` as JSON under `id`. An `Ok` is a promise: each queue that is
    /// bound has written it, and there is at least one. After an error it may be there all the
    /// same; who tries again uses the same id.
    pub async fn publish(&self, id: Uuid, content: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(content).context("cannot write JSON")?;
        let over = Instant::now() + PATIENCE;
        let late = || format!("the broker has not confirmed message {id} within {PATIENCE:?}");
        let _turn = timeout_at(over, self.turn.lock())
            .await
            .with_context(late)?;
        let sent = timeout_at(over, self.send(id, &body)).await;
        let outcome = sent.with_context(late).flatten();
        if outcome.is_err() {
            // Whatever is wrong, the next message gets a new channel, and all declared anew.
            self.outlet.renew().await;
        }
        outcome
    }

    /// What is published to, declared when a channel is opened.
    async fn prepare(&self, channel: &Channel) -> Result<()> {
        exchange::declare(channel, self.exchange).await?;
        // HOLE 6: what the audience is promised needs a queue that takes it, from now on.
        for service in self.audience {
            queue::subscribe(channel, self.exchange, service).await?;
        }
        Ok(())
        // END HOLE 6
    }

    async fn send(&self, id: Uuid, body: &[u8]) -> Result<()> {
        let prepare = async |channel: &Channel| self.prepare(channel).await;
        let channel = self.outlet.prepared(prepare).await?;
        let properties = BasicProperties::default()
            .with_message_id(id.to_string().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2); // persistent
        // HOLE 2: publish it to the exchange, mandatory, await the confirm, and judge it.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirmation = channel
            .basic_publish(self.exchange.into(), "".into(), options, body, properties)
            .await? // sent
            .await?; // confirmed
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => {
                bail!(
                    "message {id} came back: nobody is bound to `{}`",
                    self.exchange
                )
            }
            other => bail!("the broker did not take message {id}: {other:?}"),
        }
        // END HOLE 2
    }
}
