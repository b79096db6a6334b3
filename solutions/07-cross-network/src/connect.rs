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
    let uri = AMQPUri {
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: broker.user.clone(),
                password: broker.password.clone(),
            },
            host: broker.host.clone(),
            port: broker.port,
        },
        vhost: broker.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(broker.heartbeat),
            ..AMQPQueryString::default()
        },
        ..AMQPUri::default()
    };
    let properties = ConnectionProperties::default().with_connection_name(logging::name().into());
    timeout(broker.connect_timeout, connector::connect(uri, properties))
        .await
        .with_context(|| format!("no answer within {:?}", broker.connect_timeout))?
        .context("cannot connect")
    // END HOLE 2
}
