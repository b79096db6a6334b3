//! Role `consumer`: records each message of the queue `messages`, once.
//!
//! Settings: `BROKER_…`, see `settings.rs`; `DATABASE`, the path of its SQLite file; and the
//! command line.

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

/// The queue. An administrator has declared it; we have no right to.
const MESSAGES: &str = "messages";

// HOLE 3: so many that the next one has arrived when the last one is done.
/// How many messages the broker may hand over ahead of our acks. An ack reaches the broker one
/// round trip after it sent the message, so at most prefetch / round trip messages arrive a
/// second. 100 are enough for 500 a second over 200 ms.
const PREFETCH: u16 = 100;
// END HOLE 3

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

/// A consumer, with its counts over all connections.
struct Recorder {
    settings: Settings,
    store: Store,
    shutdown: CancellationToken,
    received: u64,
    duplicates: u64,
    effects: u64,
}

/// Records until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let broker = Broker::from_env()?;
    let mut recorder = Recorder {
        settings,
        store: Store::open(&settings::database()?, "messages").await?,
        shutdown: shutdown.clone(),
        received: 0,
        duplicates: 0,
        effects: 0,
    };
    let consume = async |connection: &Connection| recorder.consume(connection).await;
    let outcome = session::keep(&broker, &shutdown, consume).await;
    recorder.tell();
    outcome
}

impl Recorder {
    /// Records one message after the other. `shutdown` is checked between two of them: a message
    /// that is begun is always finished.
    async fn consume(&mut self, connection: &Connection) -> Result<()> {
        let mut deliveries = self.subscribe(connection).await?;
        log::info!("ready, with prefetch {}", self.settings.prefetch);
        while let Some(next) = self.shutdown.run_until_cancelled(deliveries.next()).await {
            let delivery = next.context("the broker ended the subscription")??;
            let text = String::from_utf8_lossy(&delivery.data);
            log::debug!("begun: {text}");
            sleep(Duration::from_millis(self.settings.work_ms)).await;
            self.settle(&delivery, &text).await?;
            self.received += 1;
            self.tell();
        }
        Ok(())
    }

    /// Consumes the queue. Declares nothing: we have no right to.
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

    /// Gives the message its effect, once; then acks it.
    async fn settle(&mut self, delivery: &Delivery, text: &str) -> Result<()> {
        let id = delivery.properties.message_id().as_ref();
        let id = id.map(ShortString::as_str).filter(|id| !id.is_empty());
        let Some(id) = id else {
            log::warn!("a message without an id is dead-lettered: {text:?}");
            let options = BasicRejectOptions { requeue: false };
            delivery.reject(options).await?;
            return Ok(());
        };
        // HOLE 4: commit it under its id, then ack, and count.
        let new = self.store.record(id, text).await?;
        delivery.ack(BasicAckOptions::default()).await?;
        match new {
            true => self.effects += 1,
            false => self.duplicates += 1,
        }
        // END HOLE 4
        Ok(())
    }

    fn tell(&self) {
        let (received, duplicates, effects) = (self.received, self.duplicates, self.effects);
        log::info!("received {received}, duplicates {duplicates}, effects {effects}");
    }
}
