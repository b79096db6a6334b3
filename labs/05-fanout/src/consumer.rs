//! The consumer's side: a service works off its own queue, and acks when the work is done.

use anyhow::{Context, Result};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{exchange, queue};

/// How many messages the broker may hand over ahead of our acks.
const PREFETCH: u16 = 20;

/// A message, as a handler gets it.
pub struct Message<'a> {
    /// Its id, the same however often it is delivered, and in each queue that has a copy. A
    /// producer that gave none gets a new one for each delivery.
    pub id: String,
    /// The JSON.
    pub body: &'a [u8],
}

/// Why a handler did not do the work.
pub enum Refusal {
    /// The message is broken, for this service, and will be so tomorrow.
    Broken(anyhow::Error),
    /// The message is fine; we could not do the work just now.
    NotNow(anyhow::Error),
}

/// Hands `service` each message that comes to `exchange`, until `shutdown`.
pub async fn run(
    url: &str,
    (exchange, service): (&str, &str),
    shutdown: &CancellationToken,
    handle: impl AsyncFn(Message<'_>) -> Result<(), Refusal>,
) -> Result<()> {
    messaging::keep(url, shutdown, async |connection: &Connection| {
        // ANCHOR: subscribed
        let channel = connection.create_channel().await?;
        exchange::declare(&channel, exchange).await?;
        let queue = queue::subscribe(&channel, exchange, service).await?;
        let mut deliveries = consume(&channel, &queue).await?;
        log::info!("consuming `{queue}`");
        // ANCHOR_END: subscribed
        // A message in hand is always finished: `shutdown` is looked at between two messages.
        while let Some(next) = shutdown.run_until_cancelled(deliveries.next()).await {
            let delivery = next.context("the broker ended the subscription")??;
            settle(&delivery, &handle).await?;
        }
        Ok(())
    })
    .await
}

/// Asks the broker for the queue's messages.
async fn consume(channel: &Channel, queue: &str) -> Result<Consumer> {
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let deliveries = channel.basic_consume(
        queue.into(),
        "".into(), // the broker makes up a consumer tag
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    Ok(deliveries.await?)
}

/// Has the work done, then tells the broker what became of the message. Other queues have
/// copies of their own, so nobody else hears of it.
async fn settle(
    delivery: &Delivery,
    handle: &impl AsyncFn(Message<'_>) -> Result<(), Refusal>,
) -> Result<()> {
    let message = message(delivery);
    let id = message.id.clone();
    match handle(message).await {
        Ok(()) => {
            delivery.ack(BasicAckOptions::default()).await?;
            Ok(())
        }
        Err(Refusal::Broken(error)) => {
            log::error!("message {id} is broken and thrown away: {error:#}");
            let options = BasicRejectOptions { requeue: false };
            delivery.reject(options).await?;
            Ok(())
        }
        // Left unsettled: the broker hands it out again once this channel is gone.
        Err(Refusal::NotNow(error)) => Err(error.context(format!("message {id} has to wait"))),
    }
}

fn message(delivery: &Delivery) -> Message<'_> {
    let id = delivery.properties.message_id().as_ref();
    let given = id.filter(|id| !id.as_str().is_empty());
    Message {
        id: given.map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string),
        body: &delivery.data,
    }
}
