//! Role `consumer`: records the greetings.
//!
//! Settings: `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file.

use anyhow::{Context, Result};
use common::store::Store;
use common::{settings, shutdown};
use futures_lite::StreamExt;
use lapin::Connection;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;

use crate::queue::{self, GREETINGS};

/// How many messages the broker may deliver ahead of our acks.
const PREFETCH: u16 = 20;

/// Consumes until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let url = settings::amqp_url()?;
    let store = Store::open(&settings::database()?, "greetings").await?;
    messaging::keep(&url, &shutdown, async |connection| {
        consume(connection, &store, &shutdown).await
    })
    .await
}

/// Records one delivery after the other, until `shutdown`.
async fn consume(
    connection: &Connection,
    store: &Store,
    shutdown: &CancellationToken,
) -> Result<()> {
    let channel = connection.create_channel().await?;
    queue::declare(&channel).await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries = channel
        .basic_consume(GREETINGS.into(), "".into(), options, arguments)
        .await?;
    while let Some(next) = shutdown.run_until_cancelled(deliveries.next()).await {
        let delivery = next.context("the broker ended the subscription")??;
        record(&delivery, store).await?;
    }
    Ok(())
}

/// Records a greeting under its id. A redelivered one is recorded already, and is acked only.
async fn record(delivery: &Delivery, store: &Store) -> Result<()> {
    let id = delivery.properties.message_id().as_ref();
    let id = id.context("a greeting without message_id")?;
    let text = String::from_utf8_lossy(&delivery.data);
    // HOLE 2: record the greeting under its id, then ack it.
    store.record(id.as_str(), &text).await?;
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
    // END HOLE 2
}
