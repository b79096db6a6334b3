//! Doing something with a connection for as long as it takes, over as many as it takes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use common::logging;
use lapin::Connection;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::connect::connect;
use crate::failure::hopeless;
use crate::settings::Broker;

/// How long the broker may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often we look whether the connection is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Connects and runs `session`, which returns `Ok` when it is done: because its work is, or
/// because `shutdown` asked it to stop. When it fails, or the connection ends under it, or
/// there is none to be had, it is tried again on a new one after a pause.
///
/// `shutdown` itself ends only the waiting in between, so a session must look at it.
///
/// # Errors
/// When trying again cannot help (see [`hopeless`]).
pub async fn keep(
    broker: &Broker,
    shutdown: &CancellationToken,
    session: impl AsyncFn(&Connection) -> Result<()>,
) -> Result<()> {
    let mut backoff = Backoff::default();
    // HOLE 5: connect, run the session; again after a pause, unless it is done or hopeless.
    while !shutdown.is_cancelled() {
        let begun = Instant::now();
        let Some(connected) = shutdown.run_until_cancelled(connect(broker)).await else {
            break;
        };
        let outcome = match connected {
            Ok(connection) => once(&connection, &session).await,
            Err(error) => Err(error),
        };
        let error = match outcome {
            Ok(()) => break,
            Err(error) if hopeless(&error) => return Err(error),
            Err(error) => error,
        };
        let pause = backoff.pause(begun.elapsed());
        log::warn!("{}; trying again in {pause:.1?}", logging::causes(&error));
        shutdown.run_until_cancelled(sleep(pause)).await;
    }
    Ok(())
    // END HOLE 5
}

/// Runs the session on this connection, for no longer than that lives. Now and then lapin
/// 4.12 never answers an ack or a confirm that is under way when the connection dies.
async fn once(
    connection: &Connection,
    session: &impl AsyncFn(&Connection) -> Result<()>,
) -> Result<()> {
    tokio::select! {
        outcome = session(connection) => outcome?,
        error = gone(connection) => return error,
    }
    // All is settled. A broker that is gone, or frozen, need not hear of it.
    let _ = timeout(FAREWELL, connection.close(200, "done".into())).await;
    Ok(())
}

/// Waits until the connection is closed, whoever closed it: also lapin, when it has heard
/// nothing from the broker for two heartbeats.
async fn gone(connection: &Connection) -> Result<()> {
    while connection.status().connected() {
        sleep(LOOK_AGAIN).await;
    }
    bail!("the connection is gone");
}
