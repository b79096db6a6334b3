//! Doing something with a connection for as long as it takes, over as many as it takes.

use std::time::Duration;

use anyhow::{Result, bail};
use common::logging;
use lapin::Connection;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{connect, hopeless};

/// The pause before we begin again after a failure that a new connection may not mend.
const PAUSE: Duration = Duration::from_millis(300);

/// How long the broker may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often we look whether the connection is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Connects and runs `session`, which returns `Ok` when it is done: because its work is, or
/// because `shutdown` asked it to stop. When it fails, or the connection ends under it, it is
/// run again on a new connection. What was delivered to it and not acked by then has gone back
/// to its queue.
///
/// `shutdown` itself ends only the waiting in between, so a session must look at it.
///
/// # Errors
/// When trying again cannot help (see [`hopeless`]).
pub async fn keep(
    url: &str,
    shutdown: &CancellationToken,
    session: impl AsyncFn(&Connection) -> Result<()>,
) -> Result<()> {
    while let Some(connection) = shutdown.run_until_cancelled(connect(url)).await {
        let connection = connection?;
        // Now and then lapin 4.12 never answers an ack that is under way when the connection
        // dies. So we wait for nothing longer than the connection lives.
        let outcome = tokio::select! {
            outcome = session(&connection) => outcome,
            error = gone(&connection) => error,
        };
        match outcome {
            Ok(()) => {
                // All is settled. A broker that is gone, or frozen, need not hear of it.
                let closing = connection.close(200, "done".into());
                let _ = timeout(FAREWELL, closing).await;
                return Ok(());
            }
            Err(error) if hopeless(&error) => return Err(error),
            Err(error) => log::warn!("{}; beginning again", logging::causes(&error)),
        }
        shutdown.run_until_cancelled(sleep(PAUSE)).await;
    }
    Ok(())
}

/// Waits until the connection is closed, whoever closed it.
async fn gone(connection: &Connection) -> Result<()> {
    while connection.status().connected() {
        sleep(LOOK_AGAIN).await;
    }
    bail!("the connection is gone");
}
