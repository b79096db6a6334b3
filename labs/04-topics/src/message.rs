//! A message, as the producer sends it.

use lapin::types::ShortString;
use uuid::Uuid;

/// A message on its way to the exchange.
pub struct Message {
    /// The same however often it is sent.
    pub id: String,
    /// What it is about: words with dots between them.
    pub key: ShortString,
    /// What it says.
    pub text: String,
}

impl Message {
    /// A new message, with an id of its own.
    pub fn new(key: ShortString, text: impl Into<String>) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            key,
            text: text.into(),
        }
    }
}
