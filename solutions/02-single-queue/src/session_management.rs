//! Role `session-management`: records each saved user once, so that they can log in.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file.

use anyhow::Result;
use common::store::{Row, Store};
use common::{http, settings, shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::try_join;
use uuid::Uuid;

use crate::{consumer, queue};

/// A user, as the user service publishes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    user_id: Uuid,
    name: String,
}

/// Consumes, and serves `GET /users?skip=&limit=`, until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, "users").await?;
    let show = |row: Row| json!({ "userId": row.id, "name": row.value });
    try_join!(
        consumer::run(&url, queue::USERS, &shutdown, &store, read),
        http::serve_rows(port, shutdown.clone(), "users", &store, show),
    )?;
    Ok(())
}

/// A user is recorded under their own id, so that a redelivery changes nothing.
fn read(_message_id: &str, body: &[u8]) -> Result<Row> {
    let saved: Saved = serde_json::from_slice(body)?;
    Ok(Row {
        id: saved.user_id.to_string(),
        value: saved.name,
    })
}
