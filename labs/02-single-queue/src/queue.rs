//! The queues of this chapter.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Result};

/// Views, from `video-streaming` to `history`.
pub const VIEWED: &str = "viewed";

/// Saved users, from `user-management` to `session-management`.
pub const USERS: &str = "users";

/// Makes sure that the queue exists. Its producer and its consumer both declare it, so either may
/// start first; they must declare it alike.
pub async fn declare(channel: &Channel, name: &str) -> Result<()> {
    // HOLE 2: declare the queue durable, with no arguments.
    // Naive: the broker forgets this queue when it restarts, and all its messages with it.
    let options = QueueDeclareOptions::default();
    channel
        .queue_declare(name.into(), options, FieldTable::default())
        .await?;
    Ok(())
    // END HOLE 2
}
