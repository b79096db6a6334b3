//! The queues of this chapter.

use anyhow::Result;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

/// The jobs that all workers share.
pub const MESSAGES: &str = "messages";

/// The jobs that failed too often, for a person to look at.
pub const DEAD: &str = "messages.dead";

/// Makes sure that both exist, durable. Producers and workers do this, so that any of them
/// may be started first.
pub async fn declare(channel: &Channel) -> Result<()> {
    for name in [MESSAGES, DEAD] {
        let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default());
        channel.queue_declare(name.into(), durable, none).await?;
    }
    Ok(())
}
