//! Waits for the end of another process, above all the parent's.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// How often to look whether a process is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The variable that names the process with which this one must end: `just`, for `lab` and
/// for a check program.
pub const PARENT: &str = "LAB_PARENT";

/// Waits until the process named by [`PARENT`] is gone; forever when none is named.
pub async fn parent_gone() {
    let parent = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok());
    match parent.filter(|&pid: &i32| pid > 0) {
        Some(parent) => gone(parent).await,
        None => std::future::pending().await,
    }
}

/// Waits until the process is gone, by looking: a killed process sends no message.
pub async fn gone(pid: i32) {
    while is_alive(pid) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether the process runs. A zombie does not.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_dead_process_is_noticed_even_as_a_zombie() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a process id");
        actix_web::rt::System::new().block_on(async {
            let early = timeout(LOOK_AGAIN * 2, gone(pid)).await;
            assert!(early.is_err(), "it still runs");
            child.kill().expect("kill");
            if cfg!(target_os = "linux") {
                // Not waited for yet: a zombie, which signals still reach.
                timeout(SOON, gone(pid)).await.expect("noticed");
            }
            child.wait().expect("wait");
            timeout(SOON, gone(pid)).await.expect("noticed");
        });
    }
}
