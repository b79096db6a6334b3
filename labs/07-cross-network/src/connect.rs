//! One attempt to connect to the broker.

use anyhow::{Context, Result};
use common::logging;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::settings::Broker;

/// Looks up the broker's name, connects, and logs in: one attempt, within the timeout.
pub async fn connect(broker: &Broker) -> Result<Connection> {
    log::info!("calling {}:{}", broker.host, broker.port);
    let connection = attempt(broker).await?;
    log::info!("connected as {broker:?}");
    Ok(connection)
}

/// Uses `connector::connect`: lapin's own `Connection::connect_uri`, when a timeout gives it up,
/// keeps its thread and its socket for ever.
async fn attempt(broker: &Broker) -> Result<Connection> {
    // HOLE 2: the address from its fields, with a heartbeat; one timeout around it all.
    todo!("HOLE 2: connect, with a heartbeat and within the timeout")
    // END HOLE 2
}
