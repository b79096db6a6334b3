//! A request, as the service reads it.

use anyhow::{Context, Result};
use common::logging::excerpt;
use lapin::message::Delivery;
use lapin::types::ShortString;

/// The broker's own name for the place that answers go to without a queue.
pub const DIRECT: &str = "amq.rabbitmq.reply-to";

/// Who asks for which user.
pub struct Request {
    /// The user's id.
    pub id: u32,
    /// The queue that the answer is to go to.
    pub reply_to: ShortString,
    /// What the answer must carry, so that the caller knows which call it is for.
    pub correlation_id: Option<ShortString>,
}

impl Request {
    /// Reads what was delivered.
    ///
    /// # Errors
    /// When it cannot be answered: nothing says where to, or it is no id. It will be so
    /// tomorrow.
    pub fn read(delivery: &Delivery) -> Result<Self> {
        let about = &delivery.properties;
        let reply_to = about.reply_to().clone().context("it has no reply_to")?;
        let no_id = || format!("its body is no id: `{}`", excerpt(&delivery.data));
        let body = str::from_utf8(&delivery.data).with_context(no_id)?;
        let id = body.trim().parse();
        Ok(Self {
            id: id.with_context(no_id)?,
            reply_to,
            correlation_id: about.correlation_id().clone(),
        })
    }

    /// Whether the answer goes to the caller without a queue. `mandatory` then tells nothing:
    /// RabbitMQ 3.10 and 4.0 return each answer although it arrives, 4.3 returns none.
    pub fn is_direct(&self) -> bool {
        self.reply_to.as_str().starts_with(DIRECT)
    }
}
