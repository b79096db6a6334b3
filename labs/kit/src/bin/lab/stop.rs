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
        () = orphaned(parent()) => 143,
    })
}

/// The process whose end is to be ours, if the environment names one.
fn parent() -> Option<Pid> {
    let pid = std::env::var("LAB_PARENT").ok()?.parse().ok()?;
    (pid > 0).then(|| Pid::from_raw(pid))
}

/// Resolves when `parent` is gone; never without one.
///
/// `just` killed with -9 tells nobody, and its children would go on for ever.
async fn orphaned(parent: Option<Pid>) {
    let Some(parent) = parent else {
        return std::future::pending().await;
    };
    while alive(parent) {
        tokio::time::sleep(LOOK).await;
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
    use std::process::{Command, Stdio};

    const SOON: Duration = Duration::from_secs(5);

    fn pid_of(child: &std::process::Child) -> Pid {
        Pid::from_raw(child.id().try_into().unwrap())
    }

    #[test]
    fn a_parent_that_is_gone_is_noticed_also_before_it_is_collected() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = pid_of(&child);
        actix_web::rt::System::new().block_on(async {
            let early = tokio::time::timeout(LOOK * 2, orphaned(Some(pid))).await;
            assert!(early.is_err(), "it still runs");
            child.kill().unwrap();
            if cfg!(target_os = "linux") {
                // Not waited for yet: a zombie, which signals still reach.
                tokio::time::timeout(SOON, orphaned(Some(pid)))
                    .await
                    .unwrap();
            }
            child.wait().unwrap();
            tokio::time::timeout(SOON, orphaned(Some(pid)))
                .await
                .unwrap();
        });
    }

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
            let grandchild = Pid::from_raw(pids.trim().parse().unwrap());
            tokio::time::timeout(SOON, orphaned(Some(grandchild)))
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
