//! The consumer's side: a message is acked when its row is committed, and not before.

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use common::logging;
use common::store::{Row, Store};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Connection, Consumer, Event};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{broker, queue};

/// The prefetch: how many unacked messages we hold at most. Enough to keep us busy while an ack
/// is under way, few enough to leave work for another consumer.
const PREFETCH: u16 = 20;

/// The pause before we consume again: a new connection may meet the same failure.
const PAUSE: Duration = Duration::from_millis(300);

/// How often we look whether the connection has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Reads a message, of which it gets the id and the body, as the row to record. An error says that
/// the message is broken: it cannot be read today, and not tomorrow either.
pub type ReadRow = fn(&str, &[u8]) -> Result<Row>;

/// Records each message, until `shutdown` or until the subscription ends, which is an error. The
/// broker then requeues what is not acked.
async fn consume(
    connection: &Connection,
    queue: &str,
    shutdown: &CancellationToken,
    store: &Store,
    read: ReadRow,
) -> Result<()> {
    let work = async {
        let mut deliveries = subscribe(connection, queue).await?;
        log::info!("consuming `{queue}`");
        // `shutdown` counts between two messages only: a message that we began is finished.
        while let Some(next) = shutdown.run_until_cancelled(deliveries.next()).await {
            let delivery = next.context("the broker ended the subscription")??;
            settle(&delivery, store, read).await?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = work => outcome,
        error = gone(connection) => Err(error),
    }
}

/// Asks the broker for the queue's messages.
async fn subscribe(connection: &Connection, queue: &str) -> Result<Consumer> {
    let channel = connection.create_channel().await?;
    queue::declare(&channel, queue).await?;
    // HOLE 3: set the prefetch, then consume with manual acks.
    // Before consuming: it applies to later subscriptions only.
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let deliveries = channel
        .basic_consume(
            queue.into(),
            "".into(), // the broker makes up a consumer tag
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(deliveries)
    // END HOLE 3
}

/// Does the work, then tells the broker what became of the message.
async fn settle(delivery: &Delivery, store: &Store, read: ReadRow) -> Result<()> {
    let id = message_id(delivery);
    log::debug!("message {id} begun");
    let row = match read(&id, &delivery.data) {
        Ok(row) => row,
        Err(error) => return reject_broken(delivery, &id, error).await,
    };
    // HOLE 4: record the row, then ack the message.
    // If this fails, the message stays unacked, and is redelivered on the next channel.
    match store.record(&row.id, &row.value).await? {
        true => log::info!("recorded {:.8}: {}", row.id, row.value),
        false => log::info!("{:.8} redelivered, and ignored", row.id),
    }
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
    // END HOLE 4
}

/// Settles a message that cannot be read, today and at each redelivery.
async fn reject_broken(delivery: &Delivery, id: &str, error: Error) -> Result<()> {
    // HOLE 6: log the message with its id, and reject it without requeue.
    log::error!("message {id} is broken, and rejected: {error:#}");
    let options = BasicRejectOptions { requeue: false };
    delivery.reject(options).await?;
    Ok(())
    // END HOLE 6
}

/// Records the queue's messages until `shutdown`, over as many connections as that takes.
pub async fn run(
    url: &str,
    queue: &str,
    shutdown: &CancellationToken,
    store: &Store,
    read: ReadRow,
) -> Result<()> {
    // HOLE 7: whenever the subscription ends, connect and consume again, until `shutdown`.
    while let Some(connection) = shutdown.run_until_cancelled(broker::connect(url)).await {
        match consume(&connection, queue, shutdown, store, read).await {
            Ok(()) => connection.close(200, "stopping".into()).await?,
            Err(error) => {
                let why = logging::causes(&error);
                log::warn!("no longer consuming `{queue}`: {why}; consuming again");
                shutdown.run_until_cancelled(sleep(PAUSE)).await;
            }
        }
    }
    Ok(())
    // END HOLE 7
}

/// Waits until the connection has ended, and returns why. An ack may wait longer: of 190 cuts
/// of a busy consumer's connection, 14 left an ack that lapin 4.12.3 had not answered 10 s later
/// (RabbitMQ 3.10.8, two busy cores, 2026-11-26).
async fn gone(connection: &Connection) -> Error {
    let mut events = connection.events_listener();
    let mut reason = anyhow!("the connection is gone");
    while connection.status().connected() {
        // An event says why. Not every end is an event, so we look at the status, too.
        if let Ok(Some(Event::Error(error))) = timeout(LOOK_AGAIN, events.next()).await {
            reason = error.into();
        }
    }
    reason
}

/// The id that the producer gave, the same at each delivery. A message without one gets a new id
/// at each delivery, so nobody can tell its redelivery from a new message.
fn message_id(delivery: &Delivery) -> String {
    let id = delivery.properties.message_id().as_ref();
    let given = id.filter(|id| !id.as_str().is_empty());
    given.map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string)
}
