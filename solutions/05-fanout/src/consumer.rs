//! The consumer's side: a service consumes from its own queue, and acks when the work is done.

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
    /// Its id: the same at each redelivery, and in each queue that has a copy. A message
    /// without one gets a new one at each delivery.
    pub id: String,
    /// The JSON.
    pub body: &'a [u8],
}

/// Why a handler did not do the work.
pub enum Refusal {
    /// This service can never read the message.
    Broken(anyhow::Error),
    /// The message is fine, but the work failed: a later delivery may succeed.
    NotNow(anyhow::Error),
}

/// Hands each message that `service` gets of `exchange` to `handle`, until `shutdown`.
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
        // `shutdown` is checked between two messages: a delivered message is always finished.
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

/// Has the work done, then acks or rejects. That settles this queue's copy of the message, and
/// no other's.
async fn settle(
    delivery: &Delivery,
    handle: &impl AsyncFn(Message<'_>) -> Result<(), Refusal>,
) -> Result<()> {
    let message = message(delivery);
    let id = message.id.clone();
    match handle(message).await {
        Ok(()) => delivery.ack(BasicAckOptions::default()).await?,
        Err(Refusal::Broken(error)) => {
            log::error!("message {id} is broken, and rejected: {error:#}");
            delivery
                .reject(BasicRejectOptions { requeue: false })
                .await?
        }
        // Neither acked nor rejected: the broker requeues it when this channel closes.
        Err(Refusal::NotNow(error)) => {
            return Err(error.context(format!("message {id} has to wait")));
        }
    };
    Ok(())
}

fn message(delivery: &Delivery) -> Message<'_> {
    let id = delivery.properties.message_id().as_ref();
    let given = id.filter(|id| !id.as_str().is_empty());
    Message {
        id: given.map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string),
        body: &delivery.data,
    }
}
