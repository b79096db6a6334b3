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
    // HOLE 2: a durable fanout exchange of this name.
    // Naive: a direct exchange compares keys, and this one is gone after the broker's restart.
    let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
    channel
        .exchange_declare(exchange.into(), ExchangeKind::Direct, options, none)
        .await
        .with_context(|| format!("cannot declare exchange `{exchange}`"))
    // END HOLE 2
}
