//! The queue of the requests.

use anyhow::Result;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

/// Its name. The default exchange routes by it.
pub const RPC_QUEUE: &str = "rpc_queue";

/// Makes sure that it exists. Both sides do this, so either may be started first.
pub async fn declare(channel: &Channel) -> Result<()> {
    let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default());
    channel
        .queue_declare(RPC_QUEUE.into(), durable, none)
        .await?;
    Ok(())
}
