//! Runs a tool, such as cargo or docker, and ends it with everything that it has started.
//!
//! A tool has no guard: its output is read on two pipes, and it ends by itself when they close.

use std::io::Result;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// A tool that leads a process group of its own. Dropping it kills the whole group: cargo and
/// the compilers that it has started.
pub struct Group {
    child: Child,
    pid: Option<Pid>,
}

impl Group {
    /// Starts `command` as the leader of a new process group.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            child,
            pid: pid.map(Pid::from_raw),
        })
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the child ends. May be dropped while waiting.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        // From now on the number may belong to another process.
        self.pid = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            // The group may have ended by itself.
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::parent;
    use std::process::Stdio;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, BufReader};

    #[test]
    fn a_dropped_group_is_killed_with_its_grandchildren() {
        actix_web::rt::System::new().block_on(async {
            let mut command = Command::new("sh");
            command
                .args(["-c", "sleep 60 & echo $!; wait"])
                .stdout(Stdio::piped());
            let mut group = Group::spawn(&mut command).unwrap();
            let stdout = group.child().stdout.take().unwrap();
            let mut lines = BufReader::new(stdout).lines();
            let pid = lines.next_line().await.unwrap().unwrap();
            drop(group);
            let gone = parent::gone(pid.parse().unwrap());
            let soon = Duration::from_secs(5);
            tokio::time::timeout(soon, gone).await.unwrap();
        });
    }
}
