//! Finds and ends the processes of the hosts, whatever state the hosts are in.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::host::{Host, HostsDir};

/// How long a daemon may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(4);
/// How long a killed process may take to disappear.
const KILLED: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// The programs that an engine consists of, and those of them that get a SIGTERM first.
const DAEMONS: [&str; 5] = [
    "dockerd",
    "containerd",
    "containerd-shim-runc-v2",
    "docker-proxy",
    "runc",
];
const TERMINATED: [&str; 2] = ["dockerd", "containerd"];

/// Sends SIGTERM to the daemons, then SIGKILL to all that is left: nothing on the hosts is kept,
/// so no process needs to save anything.
///
/// # Errors
/// When a process survives SIGKILL.
pub async fn end_all(hosts_dir: &HostsDir) -> Result<()> {
    signal(&find_daemons(hosts_dir, &TERMINATED), Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while !find_daemons(hosts_dir, &TERMINATED).is_empty() && Instant::now() < deadline {
        sleep(POLL).await;
    }
    let deadline = Instant::now() + KILLED;
    loop {
        // In each round anew: a process may have started another meanwhile.
        let left = find_ours(hosts_dir);
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
        // An error means that the process has ended meanwhile.
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

/// The processes that run on a host or in a host's container, and the engines' daemons; without
/// this process and its callers.
fn find_ours(hosts_dir: &HostsDir) -> Vec<i32> {
    let networks: Vec<u64> = Host::ALL
        .into_iter()
        .filter_map(|host| fs::metadata(host.netns()).ok())
        .map(|network| network.ino())
        .collect();
    let callers = find_callers();
    let mut ours = find_processes(|proc| {
        // A zombie has neither a network nor mounts.
        let network = fs::metadata(proc.join("ns/net"));
        network.is_ok_and(|network| networks.contains(&network.ino()))
            || in_container(proc, &hosts_dir.path)
    });
    ours.extend(find_daemons(hosts_dir, &DAEMONS));
    ours.retain(|pid| !callers.contains(pid));
    ours
}

/// The processes of these names with a path of ours among their arguments.
fn find_daemons(hosts_dir: &HostsDir, names: &[&str]) -> Vec<i32> {
    let dir = format!("{}/", hosts_dir.path.display());
    find_processes(|proc| {
        let line = fs::read(proc.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let program = line.split('\0').next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        names.contains(&name) && line.contains(&dir)
    })
}

/// The processes whose folder below `/proc` is as `wanted`.
fn find_processes(wanted: impl Fn(&Path) -> bool) -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid: &i32| wanted(Path::new(&format!("/proc/{pid}"))))
        .collect()
}

/// Whether the root of the process's file system lies below `dir`.
fn in_container(proc: &Path, dir: &Path) -> bool {
    let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
    let dir = format!("{}/", dir.display());
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some("/") && line.contains(&dir))
}

/// This process, its parent, and so on.
fn find_callers() -> Vec<i32> {
    let mut callers = Vec::new();
    let mut pid = i32::try_from(std::process::id()).unwrap_or_default();
    while pid > 1 && !callers.contains(&pid) {
        callers.push(pid);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in brackets may hold anything; the state and the parent follow it.
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
    fn our_callers_are_found() {
        let callers = find_callers();
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(callers[0], own);
        assert!(parent <= 1 || callers.contains(&parent), "{callers:?}");
    }
}
