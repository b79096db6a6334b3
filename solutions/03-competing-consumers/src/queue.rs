//! The queues of this chapter.

use anyhow::Result;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

/// The jobs that all workers share.
pub const MESSAGES: &str = "messages";

/// The jobs that were given up, for a person to look at.
pub const DEAD: &str = "messages.dead";

/// Makes sure that both are there, durable. Producers and workers do this, so that any of
/// them may be the first.
pub async fn declare(channel: &Channel) -> Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    for name in [MESSAGES, DEAD] {
        channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await?;
    }
    Ok(())
}
