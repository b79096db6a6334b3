//! A connection to the broker, as soon as the broker answers.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use common::logging;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::time::{sleep, timeout};

/// How long one try may take. A frozen broker accepts the connection and never answers, and lapin
/// sets no limit of its own.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause after the first failed try; after each further try it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: we notice within this time that the broker is back.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Connects, however long that takes: services may start before their broker. Without the pauses, a
/// starting broker would be flooded with attempts.
pub async fn connect(url: &str) -> Connection {
    let mut pause = FIRST_PAUSE;
    loop {
        match try_connect(url).await {
            Ok(connection) => return connection,
            Err(error) => {
                let why = logging::causes(&error);
                log::warn!("no broker yet: {why}; trying again in {pause:?}");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One try. None of its errors quotes the URL, which holds the password.
async fn try_connect(url: &str) -> Result<Connection> {
    // We drop the parser's own error: it may quote a part of the URL.
    let uri: AMQPUri = url
        .parse()
        .map_err(|_| anyhow!("AMQP_URL cannot be read"))?;
    // The broker's management page shows the name.
    let properties = ConnectionProperties::default().with_connection_name(logging::name().into());
    // Not lapin's own `Connection::connect`: after a timeout it would keep a thread and a socket.
    let connection = timeout(PATIENCE, connector::connect(uri, properties))
        .await
        .with_context(|| format!("no answer within {PATIENCE:?}"))?
        .context("cannot connect")?;
    log::info!("connected to the broker");
    Ok(connection)
}
