//! A request, as the service reads it.

use anyhow::{Context, Result};
use common::logging::excerpt;
use lapin::message::Delivery;
use lapin::types::ShortString;

/// The broker's own name for direct reply-to: answers without a reply queue.
pub const DIRECT: &str = "amq.rabbitmq.reply-to";

/// Which user is asked for, and where the answer goes.
pub struct Request {
    /// The user's id.
    pub id: u32,
    /// The queue for the answer.
    pub reply_to: ShortString,
    /// The answer carries it, too: by it the caller finds the call.
    pub correlation_id: Option<ShortString>,
}

impl Request {
    /// Reads what was delivered.
    ///
    /// # Errors
    /// When it cannot be answered: it has no `reply_to`, or its body is not an id.
    pub fn read(delivery: &Delivery) -> Result<Self> {
        let about = &delivery.properties;
        let reply_to = about.reply_to().clone().context("it has no reply_to")?;
        let no_id = || format!("its body is not an id: `{}`", excerpt(&delivery.data));
        let body = str::from_utf8(&delivery.data).with_context(no_id)?;
        Ok(Self {
            id: body.trim().parse().with_context(no_id)?,
            reply_to,
            correlation_id: about.correlation_id().clone(),
        })
    }

    /// Whether the answer goes to the caller without a queue. `mandatory` then means nothing:
    /// RabbitMQ 3.10 and 4.0 return each answer although it arrives; 4.3 returns none.
    pub fn is_direct(&self) -> bool {
        self.reply_to.as_str().starts_with(DIRECT)
    }
}
