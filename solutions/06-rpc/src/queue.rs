//! The queue that the requests go through.

use anyhow::Result;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

/// Its name. The default exchange routes by it.
pub const RPC_QUEUE: &str = "rpc_queue";

/// Makes sure that it is there. Both sides do this, so either may be the first.
pub async fn declare(channel: &Channel) -> Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(RPC_QUEUE.into(), options, FieldTable::default())
        .await?;
    Ok(())
}
