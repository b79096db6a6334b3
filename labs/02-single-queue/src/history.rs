//! Role `history`: records each view once, and lists the views.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file.

use anyhow::Result;
use common::store::{Row, Store};
use common::{http, settings, shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::try_join;

use crate::{consumer, queue};

/// A view, as any video service publishes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Viewed {
    video_path: String,
}

/// Consumes, and serves `GET /history?skip=&limit=`, until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, "views").await?;
    let show = |row: Row| json!({ "videoPath": row.value, "viewId": row.id });
    try_join!(
        consumer::run(&url, queue::VIEWED, &shutdown, &store, read),
        http::serve_rows(port, shutdown.clone(), "history", &store, show),
    )?;
    Ok(())
}

// ANCHOR: record
/// A view is recorded under its message's id, so that a redelivery changes nothing.
fn read(id: &str, body: &[u8]) -> Result<Row> {
    let viewed: Viewed = serde_json::from_slice(body)?;
    Ok(Row {
        id: id.to_owned(),
        value: viewed.video_path,
    })
}
// ANCHOR_END: record
