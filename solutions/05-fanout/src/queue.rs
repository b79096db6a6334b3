//! The queues of this chapter: in each a service gets its own copy of an exchange's messages.

use anyhow::{Context, Result};
use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

/// Makes sure that the service's queue exists and is bound to `exchange`, which exists: from
/// now on the queue gets a copy of each message, whether the service runs or not. Returns the
/// queue's name.
pub async fn subscribe(channel: &Channel, exchange: &str, service: &str) -> Result<String> {
    let queue = name(exchange, service);
    // HOLE 1: declare the durable queue, and bind it to the exchange.
    let (name, none) = (queue.as_str(), FieldTable::default);
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), none())
        .await
        .with_context(|| format!("cannot declare the durable queue `{queue}`"))?;
    let (key, options) = ("".into(), QueueBindOptions::default()); // fanout reads no keys
    channel
        .queue_bind(name.into(), exchange.into(), key, options, none())
        .await
        .with_context(|| format!("cannot bind queue `{queue}` to exchange `{exchange}`"))?;
    // END HOLE 1
    Ok(queue)
}

/// The name of the queue in which `service` gets its copy of each message of `exchange`.
pub fn name(exchange: &str, service: &str) -> String {
    // HOLE 3: consumers of one queue share its messages. Who should, and who should not?
    format!("{exchange}.{service}")
    // END HOLE 3
}
