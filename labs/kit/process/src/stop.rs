//! Decides when a command ends early: at a signal, or when `just` or the terminal is gone.

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::parent;

/// How often to look whether the terminal is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs `work` to its end, or drops it when a signal asks to stop or the process named by
/// `LAB_PARENT` is gone. Whatever `work` holds must clean up when it is dropped.
///
/// # Errors
/// Those of `work`, and when signals cannot be waited for.
pub fn until_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<Ended<T>> {
    actix_web::rt::System::new().block_on(async {
        tokio::select! {
            biased;
            code = asked() => Ok(Ended::Stopped(ExitCode::from(code?))),
            done = work => done.map(Ended::Done),
        }
    })
}

/// How the work ended.
pub enum Ended<T> {
    /// With its result.
    Done(T),
    /// Early; this is the exit code that says so.
    Stopped(ExitCode),
}

impl Ended<ExitCode> {
    /// The exit code, of the result or of the early end.
    #[must_use]
    pub fn code(self) -> ExitCode {
        match self {
            Self::Done(code) | Self::Stopped(code) => code,
        }
    }
}

/// Waits until this program is asked to stop; gives the exit code to end with.
///
/// # Errors
/// When signals cannot be waited for.
pub async fn asked() -> Result<u8> {
    let on = |kind| signal(kind).context("cannot wait for signals");
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut hangup = on(SignalKind::hangup())?;
    // As shells do: 128 and the signal's number.
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
        () = parent::parent_gone() => 143,
        () = terminal_gone() => 129,
    })
}

/// Waits until the terminal that we write to is gone; forever when we write to none.
/// When `just` leads the session, as in `xterm -e just run 02`, the kernel sends SIGHUP to
/// `just` alone, and `just` waits for us.
async fn terminal_gone() {
    let here = || std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    if !here() {
        std::future::pending().await
    }
    while here() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
