//! One try to connect to the broker.

use anyhow::{Context, Result};
use common::logging;
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::settings::Broker;

/// Looks up the broker's name, calls it, and logs in: one try, within the timeout.
pub async fn connect(broker: &Broker) -> Result<Connection> {
    log::info!("calling {}:{}", broker.host, broker.port);
    let connection = attempt(broker).await?;
    log::info!("connected as {broker:?}");
    Ok(connection)
}

/// With `connector::connect`, and not lapin's own `Connection::connect_uri`: that one, given up
/// by a timeout, keeps a thread and a socket for ever.
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
