//! A connection to the broker, as soon as the broker answers.

use std::time::Duration;

use anyhow::{Context, Result};
use common::logging;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::{sleep, timeout};

use crate::failure::{Unreadable, hopeless};

/// How long one try may take. A frozen broker accepts the connection and never answers.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause after the first failed try; after each further try it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: we notice within this time that the broker is back.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Connects, however long that takes: services may start before their broker.
///
/// # Errors
/// When a retry cannot help (see [`hopeless`]): a URL that cannot be read, a wrong password, a
/// vhost that does not exist. No error quotes the URL, which holds the password.
pub async fn connect(url: &str) -> Result<Connection> {
    // We drop the parser's own error: it may quote a part of the URL.
    let uri: AMQPUri = url.parse().map_err(|_| Unreadable)?;
    let mut pause = FIRST_PAUSE;
    loop {
        match try_connect(&uri).await {
            Err(error) if !hopeless(&error) => {
                let why = logging::causes(&error);
                log::warn!("no broker yet: {why}; trying again in {pause:?}");
            }
            outcome => return outcome,
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn try_connect(uri: &AMQPUri) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(logging::name().into());
    // Not lapin's own `connect_uri`: after a timeout it would keep a thread and a socket.
    let connection = timeout(PATIENCE, connector::connect(uri.clone(), properties))
        .await
        .with_context(|| format!("no answer within {PATIENCE:?}"))?
        .context("cannot connect")?;
    log::info!("connected to the broker");
    Ok(connection)
}
