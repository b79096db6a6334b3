//! Role `finance`: books each sale.

use anyhow::Result;
use common::http::Paging;
use common::store::Store;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::consumer::{Message, Refusal};
use crate::exchange::SALES;
use crate::subscriber;

/// What finance reads of a sale.
#[derive(Debug, Deserialize)]
struct Sold {
    item: String,
    pence: u32,
}

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    subscriber::run((SALES, "finance"), ("bookings", book), ("bookings", list)).await
}

/// Books a sale under its message's id, so that a redelivery books nothing.
async fn book(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let Sold { item, pence } =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let booking = format!("{pence} pence for {item}");
    let recorded = store.record(&message.id, &booking).await;
    if recorded.map_err(Refusal::NotNow)? {
        log::info!("{booking}");
    }
    Ok(())
}

/// In order of arrival.
async fn list(store: &Store, page: &Paging) -> Result<Vec<Value>> {
    let rows = store.list(page.skip, page.limit).await?.into_iter();
    let bookings = rows.map(|row| json!({ "saleId": row.id, "booking": row.value }));
    Ok(bookings.collect())
}
