//! When to end before the work is done: at a signal, or when `just` or the terminal is gone.

use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use crate::parent;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

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

/// How a work ended.
pub enum Ended<T> {
    /// With its result.
    Done(T),
    /// Early; this is the exit code that says so.
    Stopped(ExitCode),
}

impl Ended<ExitCode> {
    /// The exit code, whichever way it came about.
    pub fn code(self) -> ExitCode {
        match self {
            Self::Done(code) | Self::Stopped(code) => code,
        }
    }
}

/// Resolves, with the exit code to end with, when this program is asked to stop.
pub async fn asked() -> Result<u8> {
    let on = |kind| signal(kind).context("cannot wait for signals");
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut hangup = on(SignalKind::hangup())?;
    // By the shells' custom: 128 and the signal's number.
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
        () = parent::parent_gone() => 143,
        () = terminal_gone() => 129,
    })
}

/// Waits until the terminal that we write to is gone; for ever where we write to none.
/// Where `just` leads the session, as in `xterm -e just run 02`, the kernel sends SIGHUP to
/// it alone, and it waits for us.
async fn terminal_gone() {
    let here = || std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
    if !here() {
        std::future::pending().await
    }
    while here() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A child that leads a process group of its own. Dropped while it still runs, the whole
/// group is killed: cargo and the compilers that it started.
pub struct Group {
    child: tokio::process::Child,
    pid: Option<Pid>,
}

impl Group {
    /// Starts `command` as the leader of a new process group.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut tokio::process::Command) -> std::io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Ok(Self { child, pid })
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut tokio::process::Child {
        &mut self.child
    }

    /// Waits for the child's end.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        let status = self.child.wait().await?;
        // The number may belong to somebody else from now on.
        self.pid = None;
        Ok(status)
    }

    /// Asks the group to end, gives its leader `grace`, then kills whatever is left.
    pub async fn stop(&mut self, grace: Duration) {
        if let Some(pid) = self.pid {
            // They may have ended by themselves meanwhile; that is what is wanted.
            let _ = killpg(pid, Signal::SIGTERM);
            let in_time = tokio::time::timeout(grace, self.wait()).await;
            let _ = killpg(pid, Signal::SIGKILL);
            if in_time.is_err() {
                let _ = self.wait().await;
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::Stdio;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_dropped_group_is_killed_with_its_grandchildren() {
        let mut pids = String::new();
        actix_web::rt::System::new().block_on(async {
            let mut command = tokio::process::Command::new("sh");
            command
                .args(["-c", "sleep 60 & echo $!; wait"])
                .stdout(Stdio::piped());
            let mut group = Group::spawn(&mut command).unwrap();
            let stdout = group.child().stdout.take().unwrap();
            let mut lines = tokio::io::BufReader::new(stdout);
            tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut pids)
                .await
                .unwrap();
            drop(group);
            let grandchild = pids.trim().parse().unwrap();
            tokio::time::timeout(SOON, parent::gone(grandchild))
                .await
                .unwrap();
        });
    }

    #[test]
    fn who_does_not_end_when_asked_is_killed() {
        actix_web::rt::System::new().block_on(async {
            let mut command = tokio::process::Command::new("sh");
            command
                .args(["-c", "trap '' TERM; echo; sleep 60; sleep 60"])
                .stdout(Stdio::piped());
            let mut group = Group::spawn(&mut command).unwrap();
            let stdout = group.child().stdout.take().unwrap();
            let mut line = String::new();
            let mut lines = tokio::io::BufReader::new(stdout);
            tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line)
                .await
                .unwrap();
            tokio::time::timeout(SOON, group.stop(Duration::from_millis(100)))
                .await
                .unwrap();
            assert!(group.pid.is_none());
        });
    }
}
