//! Publishes one message to the exchange.

use anyhow::Result;
use lapin::{BasicProperties, Channel};
use messaging::Published;

use crate::message::Message;
use crate::topics::LOGS;

/// Publishes `message` under its key, and waits for the confirm.
///
/// # Errors
/// When none comes. The message may have arrived, or not: send it again.
pub async fn publish(channel: &Channel, message: &Message) -> Result<Published> {
    let properties = BasicProperties::default()
        .with_message_id(message.id.as_str().into())
        .with_content_type("text/plain".into())
        .with_delivery_mode(2); // persistent
    let body = message.text.as_bytes();
    // HOLE 3: publish it to the exchange LOGS, with its own key as the routing key.
    messaging::publish(channel, LOGS, message.key.clone(), body, properties).await
    // END HOLE 3
}
