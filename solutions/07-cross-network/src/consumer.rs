//! Role `consumer`: records each message of the queue `messages`, once.
//!
//! Settings: `BROKER_…`, see `settings.rs`; `DATABASE`, the path of its SQLite file; and the
//! command line.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result};
use common::store::Store;
use common::{settings, shutdown};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, Consumer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::session;
use crate::settings::Broker;

/// The queue. An administrator has made it; we have no right to.
const MESSAGES: &str = "messages";

// HOLE 7: so many that the next one is here when we are done with the last.
/// How many messages the broker may hand over ahead of our acks. It gets an ack one round trip
/// after it has handed over the message; so no more than prefetch / round trip messages a
/// second get here. 100 are enough for 500 a second over 200 ms.
const PREFETCH: u16 = 100;
// END HOLE 7

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// How many messages the broker may hand over ahead of our acks
    #[arg(long, value_name = "N", default_value_t = PREFETCH, value_parser = clap::value_parser!(u16).range(1..))]
    prefetch: u16,
    /// How long the work for a message takes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    work_ms: u64,
}

/// What was settled so far, over all connections.
#[derive(Default)]
struct Count {
    received: Cell<u64>,
    duplicates: Cell<u64>,
    effects: Cell<u64>,
}

struct Recorder {
    settings: Settings,
    store: Store,
    count: Count,
    shutdown: CancellationToken,
}

/// Records until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let broker = Broker::from_env()?;
    let recorder = Recorder {
        settings,
        store: Store::open(&settings::database()?, "messages").await?,
        count: Count::default(),
        shutdown: shutdown.clone(),
    };
    let consume = async |connection: &Connection| recorder.consume(connection).await;
    let outcome = session::keep(&broker, &shutdown, consume).await;
    recorder.tell();
    outcome
}

impl Recorder {
    /// Records one message after the other, until `shutdown`; the one in hand is finished.
    async fn consume(&self, connection: &Connection) -> Result<()> {
        let mut deliveries = self.subscribe(connection).await?;
        log::info!("ready, with prefetch {}", self.settings.prefetch);
        while let Some(next) = self.shutdown.run_until_cancelled(deliveries.next()).await {
            let delivery = next.context("the broker ended the subscription")??;
            let text = String::from_utf8_lossy(&delivery.data);
            log::debug!("in hand: {text}");
            sleep(Duration::from_millis(self.settings.work_ms)).await;
            self.settle(&delivery, &text).await?;
            add_one(&self.count.received);
            self.tell();
        }
        Ok(())
    }

    /// Asks for messages. Nothing is declared: that is not among our rights.
    async fn subscribe(&self, connection: &Connection) -> Result<Consumer> {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(self.settings.prefetch, BasicQosOptions::default())
            .await?;
        let deliveries = channel.basic_consume(
            MESSAGES.into(),
            "".into(), // the broker makes up a consumer tag
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        Ok(deliveries.await?)
    }

    /// Gives the message its effect, once, and then tells the broker.
    async fn settle(&self, delivery: &Delivery, text: &str) -> Result<()> {
        let id = delivery.properties.message_id().as_ref();
        let id = id.map(ShortString::as_str).filter(|id| !id.is_empty());
        // HOLE 6: commit it under its id, then ack, and count; reject one without an id.
        let Some(id) = id else {
            log::warn!("a message without an id goes to the dead letters: {text:?}");
            let options = BasicRejectOptions { requeue: false };
            delivery.reject(options).await?;
            return Ok(());
        };
        let new = self.store.record(id, text).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        add_one(match new {
            true => &self.count.effects,
            false => &self.count.duplicates,
        });
        Ok(())
        // END HOLE 6
    }

    fn tell(&self) {
        let Count {
            received,
            duplicates,
            effects,
        } = &self.count;
        let [received, duplicates, effects] = [received, duplicates, effects].map(Cell::get);
        log::info!("received {received}, duplicates {duplicates}, effects {effects}");
    }
}

fn add_one(count: &Cell<u64>) {
    count.set(count.get() + 1);
}
