//! The exchange of this chapter, and its alternate exchange for unroutable messages.

use std::env;

use anyhow::{Context, Result};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// The exchange that producers publish to and queues are bound to.
pub const LOGS: &str = "logs";

/// Setting `ALTERNATE_EXCHANGE`: the exchange for messages that no queue of [`LOGS`] takes. All
/// programs that declare [`LOGS`] must agree on it; most often there is none.
pub fn alternate() -> Option<String> {
    let name = env::var("ALTERNATE_EXCHANGE").ok();
    name.filter(|name| !name.is_empty())
}

/// Makes sure that the exchange exists. Producers and consumers do this, so that any of them
/// may be started first.
pub async fn declare(channel: &Channel, alternate: Option<&str>) -> Result<()> {
    let arguments = match alternate {
        Some(name) => catch_all(channel, name).await?,
        None => FieldTable::default(),
    };
    // HOLE 2: a durable topic exchange called LOGS, with these arguments.
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(LOGS.into(), ExchangeKind::Topic, durable, arguments)
        .await
        .with_context(|| format!("cannot declare the durable topic exchange `{LOGS}`"))
    // END HOLE 2
}

/// Makes sure that the alternate exchange exists, with a queue that keeps its messages. Returns
/// the arguments with which [`LOGS`] refers to it.
async fn catch_all(channel: &Channel, name: &str) -> Result<FieldTable> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default;
    channel
        .exchange_declare(name.into(), ExchangeKind::Fanout, durable, none())
        .await?;
    // HOLE 7: a durable queue `name` bound to it, and the argument `alternate-exchange`.
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(name.into(), durable, none()).await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(name.into(), name.into(), "".into(), options, none())
        .await?;
    let mut arguments = FieldTable::default();
    let name = AMQPValue::LongString(name.into());
    arguments.insert("alternate-exchange".into(), name);
    Ok(arguments)
    // END HOLE 7
}
