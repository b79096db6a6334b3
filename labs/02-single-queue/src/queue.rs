//! The queues of this chapter.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Result};

/// Views, from `video-streaming` to `history`.
pub const VIEWED: &str = "viewed";

/// Saved users, from `user-management` to `session-management`.
pub const USERS: &str = "users";

/// Makes sure that the queue is there. Both its producer and its consumer do this, so that
/// either may be the first; they must agree on what it is like.
pub async fn declare(channel: &Channel, name: &str) -> Result<()> {
    // HOLE 2: declare the queue durable, with no arguments.
    todo!("HOLE 2: declare the queue durable, with no arguments")
    // END HOLE 2
}
