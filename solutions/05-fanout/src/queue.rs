//! The queues of this chapter: each is a service's own copy of an exchange's messages.

use anyhow::{Context, Result};
use lapin::Channel;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

/// The queue in which `service` collects what comes to `exchange`.
pub fn name(exchange: &str, service: &str) -> String {
    // HOLE 4: who has a name in common shares the messages. Who should, and who should not?
    format!("{exchange}.{service}")
    // END HOLE 4
}

/// Makes sure that the service's queue is there and gets a copy of all that comes to
/// `exchange`, which is there, from now on, whether the service runs or not. Gives the
/// queue's name.
pub async fn subscribe(channel: &Channel, exchange: &str, service: &str) -> Result<String> {
    let queue = name(exchange, service);
    // HOLE 3: declare the durable queue, and bind it to the exchange.
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default;
    channel
        .queue_declare(queue.as_str().into(), options, none())
        .await
        .with_context(|| format!("cannot have a durable queue `{queue}`"))?;
    let (to, key) = (exchange.into(), "".into()); // a fanout exchange reads no keys
    channel
        .queue_bind(
            queue.as_str().into(),
            to,
            key,
            QueueBindOptions::default(),
            none(),
        )
        .await
        .with_context(|| format!("cannot bind queue `{queue}` to exchange `{exchange}`"))?;
    Ok(queue)
    // END HOLE 3
}
