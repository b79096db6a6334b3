//! One attempt to connect to the broker.

use anyhow::{Context, Result};
use common::logging;
use lapin::uri::{AMQPAuthority, AMQPUri, AMQPUserInfo};
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

/// Where the broker is and who we are there, field by field: a password may contain any character.
fn address(broker: &Broker) -> AMQPUri {
    let Broker {
        user: username,
        password,
        host,
        port,
        vhost,
        ..
    } = broker.clone();
    // HOLE 1: put the five values into an `AMQPUri`.
    AMQPUri {
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host,
            port,
        },
        vhost,
        ..AMQPUri::default()
    }
    // END HOLE 1
}

/// Uses `connector::connect`: lapin's own `Connection::connect_uri`, when a timeout gives it up,
/// keeps its thread and its socket for ever.
async fn attempt(broker: &Broker) -> Result<Connection> {
    let mut uri = address(broker);
    // HOLE 2: ask for our heartbeat.
    uri.query.heartbeat = Some(broker.heartbeat);
    // END HOLE 2
    let properties = ConnectionProperties::default().with_connection_name(logging::name().into());
    let connecting = connector::connect(uri, properties);
    // HOLE 5: allow `broker.connect_timeout` for the whole attempt.
    timeout(broker.connect_timeout, connecting)
        .await
        .with_context(|| format!("no answer within {:?}", broker.connect_timeout))?
        .context("cannot connect")
    // END HOLE 5
}
