//! A session that continues on a new connection when its connection ends.

use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};
use common::logging;
use futures_lite::StreamExt;
use lapin::{Connection, Event};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::connect::connect;
use crate::failure::hopeless;
use crate::settings::Broker;

/// How long closing the connection may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// How often we look whether the connection has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Connects and runs `session`, which returns `Ok` when it is done: its work is finished, or it
/// has seen `shutdown`. When connecting or the session fails, or the connection ends, both are
/// tried again after a pause.
///
/// `shutdown` itself ends only connecting and pauses, so a session must check it.
///
/// # Errors
/// When trying again cannot help (see [`hopeless`]).
pub async fn keep(
    broker: &Broker,
    shutdown: &CancellationToken,
    mut session: impl AsyncFnMut(&Connection) -> Result<()>,
) -> Result<()> {
    let mut backoff = Backoff::new(broker.longest_pause);
    // HOLE 8: attempt after attempt, with pauses, until one is done or hopeless.
    // Naive: retries until it is connected, and ends with that connection; SIGTERM has to wait.
    while !shutdown.is_cancelled() {
        match connect(broker).await {
            Ok(connection) => return once(&connection, &mut session).await,
            Err(error) if hopeless(&error) => return Err(error),
            Err(error) => {
                let pause = backoff.pause(Duration::ZERO);
                log::warn!("{}; trying again in {pause:.1?}", logging::causes(&error));
                sleep(pause).await;
            }
        }
    }
    Ok(())
    // END HOLE 8
}

/// Connects, and runs one session. Returns `Ok` when the session is done, or `shutdown` has ended
/// connecting.
async fn attempt(
    broker: &Broker,
    shutdown: &CancellationToken,
    session: &mut impl AsyncFnMut(&Connection) -> Result<()>,
) -> Result<()> {
    match shutdown.run_until_cancelled(connect(broker)).await {
        Some(connected) => once(&connected?, session).await,
        None => Ok(()),
    }
}

/// Runs the session, for no longer than its connection lives: lapin 4.12 sometimes never
/// resolves an ack or a confirm that is in flight when the connection ends.
async fn once(
    connection: &Connection,
    session: &mut impl AsyncFnMut(&Connection) -> Result<()>,
) -> Result<()> {
    tokio::select! {
        outcome = session(connection) => outcome?,
        error = gone(connection) => return Err(error),
    }
    // All is settled. If the broker is gone or frozen, closing may fail: no harm.
    let _ = timeout(FAREWELL, connection.close(200, "done".into())).await;
    Ok(())
}

/// Waits until the connection has ended, and returns why: a cut, the broker's reply code, or two
/// heartbeats without a frame from the broker.
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
