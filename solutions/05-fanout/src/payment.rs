//! Role `payment`: collects the money for each sale.

use anyhow::Result;
use common::http::Paging;
use common::store::Store;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::consumer::{Message, Refusal};
use crate::exchange::SALES;
use crate::subscriber;

/// What payment reads of a sale.
#[derive(Debug, Deserialize)]
struct Due {
    customer: String,
    pence: u32,
}

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    subscriber::run(
        (SALES, "payment"),
        ("payments", collect),
        ("payments", list),
    )
    .await
}

/// Collects the money under the message's id, so that a redelivery collects nothing.
async fn collect(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let Due { customer, pence } =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let payment = format!("{pence} pence from {customer}");
    let recorded = store.record(&message.id, &payment).await;
    if recorded.map_err(Refusal::NotNow)? {
        log::info!("{payment}");
    }
    Ok(())
}

/// In order of arrival.
async fn list(store: &Store, page: &Paging) -> Result<Vec<Value>> {
    let rows = store.list(page.skip, page.limit).await?.into_iter();
    let payments = rows.map(|row| json!({ "saleId": row.id, "payment": row.value }));
    Ok(payments.collect())
}
