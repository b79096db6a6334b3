//! The exchanges of this chapter: one for each kind of event.

use anyhow::{Context, Result};
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

/// A film was watched.
pub const VIEWED: &str = "viewed";

/// Something was sold.
pub const SALES: &str = "sales";

/// Makes sure that the exchange exists. Producers and consumers do this, so that any of them
/// may be started first.
pub async fn declare(channel: &Channel, exchange: &str) -> Result<()> {
    // HOLE 1: a durable fanout exchange of this name.
    todo!("HOLE 1: declare the durable fanout exchange")
    // END HOLE 1
}
