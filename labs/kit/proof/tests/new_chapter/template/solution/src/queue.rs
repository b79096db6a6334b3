//! The queue of this chapter.

use anyhow::Result;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

/// Greetings, from `producer` to `consumer`.
pub const GREETINGS: &str = "greetings";

/// Declares the queue. Producer and consumer both do, so that either may be the first.
pub async fn declare(channel: &Channel) -> Result<()> {
    let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default());
    channel
        .queue_declare(GREETINGS.into(), durable, none)
        .await?;
    Ok(())
}
