//! A message that the producer publishes.

use anyhow::Result;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, PublisherConfirm};
use uuid::Uuid;

/// The exchange, and the binding key of its queue. An administrator has declared both.
const MESSAGES: &str = "messages";

pub struct Message {
    /// The same however often it is sent: by it the consumer knows a duplicate.
    pub id: String,
    text: String,
}

impl Message {
    /// A new one, with an id of its own.
    pub fn new(number: u64) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            text: format!("message {number}"),
        }
    }

    /// Sends it. Await the confirm as well, and settle the window as in chapter 03: only then
    /// does a queue have it.
    pub async fn publish(&self, channel: &Channel) -> Result<PublisherConfirm> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_message_id(self.id.as_str().into())
            .with_content_type("text/plain".into())
            .with_delivery_mode(2); // persistent: written to disk
        let (exchange, key) = (MESSAGES.into(), MESSAGES.into());
        let sent = channel.basic_publish(exchange, key, options, self.text.as_bytes(), properties);
        Ok(sent.await?)
    }
}
