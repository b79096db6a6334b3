//! The processes of the hosts: found whatever state these are in, and ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::place::{Host, Place};

/// What a daemon gets to end by itself.
const GRACE: Duration = Duration::from_secs(4);
/// What a killed process gets to be gone.
const GONE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// What an engine runs, and which of it ends when asked.
const DAEMONS: [&str; 5] = [
    "dockerd",
    "containerd",
    "containerd-shim-runc-v2",
    "docker-proxy",
    "runc",
];
const ASKED: [&str; 2] = ["dockerd", "containerd"];

/// Asks the daemons to end, then kills all that is left: whatever the hosts hold goes with
/// them, so there is nothing to be gentle for.
///
/// # Errors
/// When a process does not end even so.
pub async fn end(place: &Place) -> Result<()> {
    signal(&daemons(place, &ASKED), Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while !daemons(place, &ASKED).is_empty() && Instant::now() < deadline {
        sleep(POLL).await;
    }
    let deadline = Instant::now() + GONE;
    loop {
        // Again and again: a process may have started another meanwhile.
        let left = ours(place);
        if left.is_empty() {
            return Ok(());
        }
        signal(&left, Signal::SIGKILL);
        if Instant::now() > deadline {
            bail!("these processes do not end: {left:?}");
        }
        sleep(POLL).await;
    }
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        // It may have ended meanwhile; that is what is wanted.
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

/// The processes that run on one of the hosts, or in a container of theirs, or that are
/// daemons of theirs, but for this one and those that called it.
fn ours(place: &Place) -> Vec<i32> {
    let networks: Vec<u64> = Host::ALL
        .into_iter()
        .filter_map(|host| fs::metadata(host.netns()).ok())
        .map(|network| network.ino())
        .collect();
    let callers = callers();
    let mut ours = processes(|proc| {
        // One that has ended and was not yet collected has neither.
        let network = fs::metadata(proc.join("ns/net"));
        network.is_ok_and(|network| networks.contains(&network.ino()))
            || in_container(proc, &place.dir)
    });
    ours.extend(daemons(place, &DAEMONS));
    ours.retain(|pid| !callers.contains(pid));
    ours
}

/// The processes of these names that were told of a file of ours.
fn daemons(place: &Place, names: &[&str]) -> Vec<i32> {
    let dir = format!("{}/", place.dir.display());
    processes(|proc| {
        let line = fs::read(proc.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let program = line.split('\0').next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        names.contains(&name) && line.contains(&dir)
    })
}

/// The processes whose folder below `/proc` is as wanted.
fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid: &i32| wanted(Path::new(&format!("/proc/{pid}"))))
        .collect()
}

/// Whether the process sees, as its root, files that lie below `dir`.
fn in_container(proc: &Path, dir: &Path) -> bool {
    let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
    let dir = format!("{}/", dir.display());
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some("/") && line.contains(&dir))
}

/// This process and those that called it.
fn callers() -> Vec<i32> {
    let mut callers = Vec::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or_default();
    while pid > 1 && !callers.contains(&pid) {
        callers.push(pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, then the parent.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        pid = parent.unwrap_or_default();
    }
    callers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_called_us_is_spared() {
        let callers = callers();
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(callers[0], own);
        assert!(parent <= 1 || callers.contains(&parent), "{callers:?}");
    }
}
