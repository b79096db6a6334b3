//! Role `consumer`: consumes from a queue of its own name, which gets what its patterns match.
//!
//! Settings: `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file, one for all
//! consumers of a name; `ALTERNATE_EXCHANGE`, see [`topics`]; and the command line.

use anyhow::{Context, Result};
use common::store::Store;
use common::{settings, shutdown};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::topics::LOGS;
use crate::{key, place, topics};

/// How many messages the broker may hand over ahead of our acks.
const PREFETCH: u16 = 20;

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// The name of the queue; consumers of one name share its messages
    #[arg(value_parser = key::parse)]
    pub name: ShortString,
    /// Get what one of these matches: `*` is one word, `#` any number of them
    #[arg(value_name = "PATTERN", value_parser = key::parse, required_unless_present = "unbind")]
    patterns: Vec<ShortString>,
    /// No longer get what this one matches; may be given several times
    #[arg(long, value_name = "PATTERN", value_parser = key::parse)]
    unbind: Vec<ShortString>,
}

/// A consumer, with all that it needs for a message.
struct Subscriber {
    settings: Settings,
    alternate: Option<String>,
    store: Store,
    shutdown: CancellationToken,
}

/// Consumes until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let url = settings::amqp_url()?;
    let subscriber = Subscriber {
        settings,
        alternate: topics::alternate(),
        store: Store::open(&settings::database()?, "messages").await?,
        shutdown: shutdown.clone(),
    };
    messaging::keep(&url, &shutdown, async |connection| {
        subscriber.consume(connection).await
    })
    .await
    .with_context(|| place::of(&url))
}

impl Subscriber {
    /// Records one message after the other. `shutdown` is checked between two of them: a message
    /// that is begun is always finished.
    async fn consume(&self, connection: &Connection) -> Result<()> {
        let channel = connection.create_channel().await?;
        topics::declare(&channel, self.alternate.as_deref()).await?;
        // In this order: a message that an old and a new pattern match is never missed.
        self.bind(&channel).await?;
        self.unbind(&channel).await?;
        let mut deliveries = self.subscribe(&channel).await?;
        log::info!("ready");
        while let Some(next) = self.shutdown.run_until_cancelled(deliveries.next()).await {
            let delivery = next.context("the broker ended the subscription")??;
            self.record(&delivery).await?;
        }
        Ok(())
    }

    /// Makes sure that our queue exists, and is bound with each of our patterns.
    async fn bind(&self, channel: &Channel) -> Result<()> {
        let Settings { name, patterns, .. } = &self.settings;
        // Durable and shared: it collects messages while no consumer runs.
        let durable = QueueDeclareOptions::durable();
        channel
            .queue_declare(name.clone(), durable, FieldTable::default())
            .await?;
        // HOLE 1: bind the queue `name` to the exchange LOGS with each pattern.
        for pattern in patterns {
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            channel
                .queue_bind(name.clone(), LOGS.into(), pattern.clone(), options, none)
                .await
                .with_context(|| format!("cannot bind queue `{name}` with `{pattern}`"))?;
        }
        Ok(())
        // END HOLE 1
    }

    /// Makes sure that our queue is no longer bound with these patterns.
    async fn unbind(&self, channel: &Channel) -> Result<()> {
        let Settings { name, unbind, .. } = &self.settings;
        // HOLE 6: remove these bindings, and nothing else.
        for pattern in unbind {
            let none = FieldTable::default();
            channel
                .queue_unbind(name.clone(), LOGS.into(), pattern.clone(), none)
                .await?;
        }
        Ok(())
        // END HOLE 6
    }

    /// Consumes from our queue, up to [`PREFETCH`] messages ahead of our acks.
    async fn subscribe(&self, channel: &Channel) -> Result<Consumer> {
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let deliveries = channel.basic_consume(
            self.settings.name.clone(),
            "".into(), // the broker makes up a consumer tag
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        Ok(deliveries.await?)
    }

    /// Records the message under its id, then acks it.
    async fn record(&self, delivery: &Delivery) -> Result<()> {
        let id = match delivery.properties.message_id() {
            Some(id) if !id.as_str().is_empty() => id.to_string(),
            _ => Uuid::new_v4().to_string(),
        };
        let text = String::from_utf8_lossy(&delivery.data);
        let line = format!("{} {text}", delivery.routing_key);
        if self.store.record(&id, &line).await? {
            log::info!("{line}");
        }
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }
}
