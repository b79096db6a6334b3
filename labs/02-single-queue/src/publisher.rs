//! The producer's side: a message counts as published when the broker has confirmed it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{broker, queue};

/// How long a caller waits for the confirm, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);

/// Publishes to one queue, over a connection that it opens when it needs one.
pub struct Publisher {
    url: String,
    queue: &'static str,
    open: Mutex<Option<Open>>,
}

/// The connection, and those of its channels that no publish uses now.
struct Open {
    connection: Connection,
    idle: Vec<Channel>,
}

impl Publisher {
    /// Connects at the first message.
    pub fn new(url: String, queue: &'static str) -> Self {
        let open = Mutex::new(None);
        Self { url, queue, open }
    }

    /// Publishes `content` as JSON under `id`. An `Ok` is a promise: the broker has the message.
    /// After an error it may have it too, so a caller that retries uses the same id.
    pub async fn publish(&self, id: Uuid, content: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(content).context("cannot write JSON")?;
        let sending = async {
            let channel = self.take_channel().await?;
            let sent = self.send(&channel, id, &body).await?;
            confirmed(id, sent).await?;
            self.put_back(channel).await;
            Ok(())
        };
        let outcome = timeout(PATIENCE, sending)
            .await
            .with_context(|| format!("no confirm for message {id} within {PATIENCE:?}"))
            .flatten();
        if outcome.is_err() {
            // Whatever failed, the next message gets a new connection and a new channel.
            *self.open.lock().await = None;
        }
        outcome
    }

    /// A channel that no other publish uses. On a shared channel, lapin 4.12.3 may put a returned
    /// message into the confirm of another publish.
    async fn take_channel(&self) -> Result<Channel> {
        let mut open = self.open.lock().await;
        open.take_if(|open| !open.connection.status().connected());
        let open = match &mut *open {
            Some(open) => open,
            closed => closed.insert(Open {
                connection: broker::connect(&self.url).await,
                idle: Vec::new(),
            }),
        };
        open.idle.retain(|channel| channel.status().connected());
        match open.idle.pop() {
            Some(channel) => Ok(channel),
            None => self.prepare(&open.connection).await,
        }
    }

    /// Keeps a channel whose publish succeeded for the next one.
    async fn put_back(&self, channel: Channel) {
        if let Some(open) = &mut *self.open.lock().await {
            open.idle.push(channel);
        }
    }

    /// A new channel, and the queue to publish to.
    async fn prepare(&self, connection: &Connection) -> Result<Channel> {
        let channel = open_channel(connection).await?;
        queue::declare(&channel, self.queue).await?;
        Ok(channel)
    }

    /// Sends a message to the broker. The broker's answer is still to come.
    async fn send(&self, channel: &Channel, id: Uuid, body: &[u8]) -> Result<PublisherConfirm> {
        // HOLE 1: publish `body` to this publisher's queue: persistent, with its id and type.
        todo!("HOLE 1: publish `body` to this publisher's queue: persistent, with its id and type")
        // END HOLE 1
    }
}

// HOLE 5: ask for confirms on each channel; wait for each message's confirm, and judge it.
// Naive: nobody asks the broker whether it has the message, so a 200 promises nothing.
/// A channel on which the broker confirms each message.
async fn open_channel(connection: &Connection) -> Result<Channel> {
    Ok(connection.create_channel().await?)
}

/// Waits for the broker's answer to the message `id`. One outcome of four is a success.
async fn confirmed(id: Uuid, sent: PublisherConfirm) -> Result<()> {
    drop(sent);
    Ok(())
}
// END HOLE 5
