//! When to end before the work is done: at a signal, or when `just` is gone.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// How often to look whether `just` is still there.
const LOOK: Duration = Duration::from_millis(200);

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

/// Resolves, with the exit code to end with, when this program is asked to stop.
async fn asked() -> Result<u8> {
    let on = |kind| signal(kind).context("cannot wait for signals");
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut hangup = on(SignalKind::hangup())?;
    // By the shells' custom: 128 and the signal's number.
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
        () = orphaned() => 143,
    })
}

/// Resolves when the process named by `LAB_PARENT` is gone; never without such a name.
///
/// `just` killed with -9 tells nobody, and its children would go on for ever.
async fn orphaned() {
    let parent = std::env::var("LAB_PARENT")
        .ok()
        .and_then(|pid| pid.parse().ok())
        .filter(|pid| *pid > 0)
        .map(Pid::from_raw);
    match parent {
        None => std::future::pending().await,
        Some(parent) => {
            while alive(parent) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Whether the process runs. One that ended and was not yet collected does not.
fn alive(pid: Pid) -> bool {
    if kill(pid, None) == Err(nix::errno::Errno::ESRCH) {
        return false;
    }
    // Linux only; elsewhere the file is absent and the signal's answer stands.
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')),
        Err(_) => true,
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

    /// Asks the child to end, gives it `grace`, then kills its group.
    pub async fn stop(&mut self, grace: Duration) {
        if let Some(pid) = self.pid {
            // It may have ended by itself meanwhile; that is what is wanted.
            let _ = kill(pid, Signal::SIGTERM);
            if tokio::time::timeout(grace, self.wait()).await.is_err() {
                let _ = killpg(pid, Signal::SIGKILL);
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
