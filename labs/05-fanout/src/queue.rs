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
    todo!("HOLE 1: declare the service's queue, and bind it");
    // END HOLE 1
    Ok(queue)
}

/// The name of the queue in which `service` gets its copy of each message of `exchange`.
pub fn name(exchange: &str, service: &str) -> String {
    // HOLE 3: consumers of one queue share its messages. Who should, and who should not?
    // Naive: as in chapter 02, the queue is named after what it gets.
    exchange.to_owned()
    // END HOLE 3
}
