//! Role `history`: records the views, and lists them.

use anyhow::Result;
use common::http::Paging;
use common::store::Store;
use serde_json::{Value, json};

use crate::consumer::{Message, Refusal};
use crate::exchange::VIEWED;
use crate::subscriber;
use crate::view::Viewed;

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    subscriber::run((VIEWED, "history"), ("views", record), ("history", list)).await
}

/// Records a view under its message's id, so that a redelivery changes nothing.
async fn record(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let viewed: Viewed =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let recorded = store.record(&message.id, &viewed.video_path).await;
    if recorded.map_err(Refusal::NotNow)? {
        log::info!("view {:.8}: {}", message.id, viewed.video_path);
    }
    Ok(())
}

/// In order of arrival.
async fn list(store: &Store, page: &Paging) -> Result<Vec<Value>> {
    let rows = store.list(page.skip, page.limit).await?.into_iter();
    let view = rows.map(|row| json!({ "videoPath": row.value, "viewId": row.id }));
    Ok(view.collect())
}
