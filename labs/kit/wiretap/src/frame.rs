//! One AMQP method as it crossed the wire, and the message that came with it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Method;

/// Which end of a relayed connection sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The service under check.
    Client,
    /// What it talks to: the broker, or another service.
    Server,
}

/// The content that follows `basic.publish`, `basic.deliver`, `basic.return` or `basic.get-ok`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The property `message_id`.
    pub id: Option<String>,
    /// The property `content_type`.
    pub content_type: Option<String>,
    /// Whether `delivery_mode` is 2: the broker keeps the message on disk.
    pub persistent: bool,
    /// The property `correlation_id`.
    pub correlation_id: Option<String>,
    /// The property `reply_to`.
    pub reply_to: Option<String>,
    /// The property `expiration`: after how many milliseconds the broker drops the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<String>,
    /// The property `headers`, which the application and the broker set.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub headers: Value,
    /// The size of the body in bytes.
    pub size: u64,
    /// The first 256 bytes of the body, as text.
    pub body: String,
}

/// One method that crossed the wiretap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The name of the service whose wiretap saw it: its role, where it has no other.
    pub service: String,
    /// Counts that service's connections from 1.
    pub connection: u32,
    /// Who sent it.
    pub from: Side,
    /// The AMQP channel number.
    pub channel: u16,
    /// The method.
    pub method: Method,
    /// Those arguments of the method that a lesson mentions.
    pub args: Value,
    /// The content, for the methods that carry one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

impl Frame {
    /// The delivery tag of a deliver, ack, nack or reject.
    #[must_use]
    pub fn tag(&self) -> Option<u64> {
        self.args["delivery_tag"].as_u64()
    }

    /// Whether the boolean argument `name` is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.args[name].as_bool().unwrap_or(false)
    }

    /// The message's id, where it carries one.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.message.as_ref()?.id.as_deref()
    }
}
