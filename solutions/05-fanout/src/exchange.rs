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
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default();
    channel
        .exchange_declare(exchange.into(), ExchangeKind::Fanout, options, none)
        .await
        .with_context(|| format!("cannot declare the durable fanout exchange `{exchange}`"))
    // END HOLE 2
}
