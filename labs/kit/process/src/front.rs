//! Runs one program on this terminal: it keeps our standard output and error, and dies with us.

use std::io::Result;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::time::timeout;

use crate::{Launch, guard};

/// A program in front, behind a guard that says nothing itself. Dropping it kills the program
/// and what that has started.
pub struct Front {
    guard: Child,
    /// The guard kills the program when this is closed.
    lifeline: Option<ChildStdin>,
}

impl Front {
    /// Starts `launch`, whose log is not used. A program that cannot be started ends with
    /// code 2 and a line on standard error.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub fn start(launch: &Launch) -> Result<Self> {
        let mut command = launch.guarded_by(guard::IN_FRONT)?;
        let mut guard = command.stdin(Stdio::piped()).spawn()?;
        let lifeline = guard.stdin.take();
        Ok(Self { guard, lifeline })
    }

    /// Waits until the program ends; the status has its exit code, or 128 and the number of
    /// the signal that ended it. May be dropped while waiting.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.guard.wait().await
    }

    /// Asks the program to end (SIGTERM); gives nothing when it still runs after `grace`.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn terminate(&mut self, grace: Duration) -> Result<Option<ExitStatus>> {
        if let Some(lifeline) = &mut self.lifeline {
            // This fails when the program has just ended by itself.
            let _ = lifeline.write_all(b".").await;
        }
        timeout(grace, self.wait()).await.ok().transpose()
    }

    /// Kills the program and what it has started, and waits until it has ended.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.lifeline = None;
        self.wait().await
    }
}
