//! The producer's side: a message is published when the broker says that it has it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{broker, queue};

/// How long a caller waits for the broker's word, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);

/// Publishes to one queue, over a connection that it opens when it needs one.
pub struct Publisher {
    url: String,
    queue: &'static str,
    open: Mutex<Option<Open>>,
}

/// A channel closes with its connection, so the two are kept together.
struct Open {
    channel: Channel,
    _connection: Connection,
}

impl Publisher {
    /// Connects at the first message.
    pub fn new(url: String, queue: &'static str) -> Self {
        let open = Mutex::new(None);
        Self { url, queue, open }
    }

    /// Publishes `content` as JSON under `id`. An `Ok` is a promise: the broker has written
    /// it. After an error it may have it all the same; who tries again uses the same id.
    pub async fn publish(&self, id: Uuid, content: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(content).context("cannot write JSON")?;
        let sending = async { self.send(&self.channel().await?, id, &body).await };
        let outcome = match timeout(PATIENCE, sending).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("the broker has not confirmed message {id} within {PATIENCE:?}"),
        };
        if outcome.is_err() {
            // Whatever is wrong with this channel, the next message gets a new one.
            *self.open.lock().await = None;
        }
        outcome
    }

    /// The channel in use, or a new one where there is none or it is closed.
    async fn channel(&self) -> Result<Channel> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open
            && open.channel.status().connected()
        {
            return Ok(open.channel.clone());
        }
        let connection = broker::connect(&self.url).await;
        let channel = self.prepare(&connection).await?;
        *open = Some(Open {
            channel: channel.clone(),
            _connection: connection,
        });
        Ok(channel)
    }

    /// A channel on which the broker confirms each message, and the queue to publish to.
    async fn prepare(&self, connection: &Connection) -> Result<Channel> {
        // HOLE 3: open a channel, switch confirms on, declare the queue.
        todo!("HOLE 3: open a channel, switch confirms on, declare the queue")
        // END HOLE 3
    }

    async fn send(&self, channel: &Channel, id: Uuid, body: &[u8]) -> Result<()> {
        // HOLE 4: publish a persistent message with its id and type; wait for the confirm.
        todo!("HOLE 4: publish a persistent message with its id and type; wait for the confirm")
        // END HOLE 4
    }
}
