//! One message on its way to the queue.

use anyhow::{Result, bail};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use uuid::Uuid;

/// The exchange, and the key under which its queue is bound. An administrator has made both.
const MESSAGES: &str = "messages";

pub struct Message {
    /// The same however often it is sent: by it the consumer knows a double.
    id: String,
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

    /// Sends it. The broker has it only when what this returns was awaited as well, and is
    /// [`accepted`].
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

/// Whether the broker's word means that a queue has the message.
pub fn accepted(word: Confirmation) -> Result<()> {
    match word {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => bail!("a message came back: no queue takes it"),
        other => bail!("the broker did not take a message: {other:?}"),
    }
}
