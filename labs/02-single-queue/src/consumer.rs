//! The consumer's side: a message is acked when its work is done, and not before.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use common::logging;
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{broker, queue};

/// How many messages the broker hands over ahead of our acks. Enough to keep us busy while
/// an ack is under way, few enough that another consumer would find work too.
const PREFETCH: u16 = 20;

/// The pause before we consume again after a failure that a new connection may not mend.
const PAUSE: Duration = Duration::from_millis(300);

/// How often we look whether the connection is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A message, as a handler gets it.
pub struct Message<'a> {
    /// Its id, the same however often it is delivered. A producer that gave none gets a
    /// new one for each delivery, and then nobody can tell a redelivery from a new message.
    pub id: String,
    /// The JSON.
    pub body: &'a [u8],
}

/// Why a handler did not do the work.
pub enum Refusal {
    /// The message is broken and will be so tomorrow.
    Broken(anyhow::Error),
    /// The message is fine; we could not do the work just now.
    NotNow(anyhow::Error),
}

/// Hands each message of the queue to `handle`, until `shutdown`.
pub async fn run(
    url: &str,
    queue: &str,
    shutdown: &CancellationToken,
    handle: impl AsyncFn(Message<'_>) -> Result<(), Refusal>,
) -> Result<()> {
    // HOLE 7: whenever the subscription ends, connect and consume again, until `shutdown`.
    // Naive: it consumes once. It has to go on when the connection or the channel is gone.
    let connection = broker::connect(url).await;
    consume(&connection, queue, shutdown, &handle).await
    // END HOLE 7
}

/// Consumes until `shutdown` or until the subscription ends, which is an error. What was
/// delivered and not acked by then goes back to the queue with the connection.
async fn consume(
    connection: &Connection,
    queue: &str,
    shutdown: &CancellationToken,
    handle: &impl AsyncFn(Message<'_>) -> Result<(), Refusal>,
) -> Result<()> {
    let work = async {
        let mut deliveries = subscribe(connection, queue).await?;
        // A message in hand is always finished: `shutdown` is looked at between two messages.
        while let Some(next) = shutdown.run_until_cancelled(deliveries.next()).await {
            let delivery = next.context("the broker ended the subscription")??;
            settle(&delivery, handle).await?;
        }
        Ok(())
    };
    // Now and then lapin 4.12 never answers an ack that is under way when the connection
    // dies. So we wait for nothing longer than the connection lives.
    tokio::select! {
        outcome = work => outcome,
        () = gone(connection) => bail!("the connection is gone"),
    }
}

/// Waits until the connection is closed, whoever closed it.
async fn gone(connection: &Connection) {
    while connection.status().connected() {
        sleep(LOOK_AGAIN).await;
    }
}

/// Asks the broker for the queue's messages.
async fn subscribe(connection: &Connection, queue: &str) -> Result<Consumer> {
    // HOLE 5: open a channel, declare the queue, set the prefetch, consume with manual acks.
    todo!("HOLE 5: open a channel, declare the queue, set the prefetch, consume with manual acks")
    // END HOLE 5
}

/// Has the work done, then tells the broker what became of the message.
async fn settle(
    delivery: &Delivery,
    handle: &impl AsyncFn(Message<'_>) -> Result<(), Refusal>,
) -> Result<()> {
    let message = message(delivery);
    let id = message.id.clone();
    log::debug!("message {id} is in hand");
    // HOLE 6: handle, then ack; log a broken message and reject it without requeue.
    todo!("HOLE 6: handle, then ack; log a broken message and reject it without requeue")
    // END HOLE 6
}

fn message(delivery: &Delivery) -> Message<'_> {
    let id = delivery.properties.message_id().as_ref();
    let given = id.filter(|id| !id.as_str().is_empty());
    Message {
        id: given.map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string),
        body: &delivery.data,
    }
}
