//! Taking everything away, whatever state it is in.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::place::{Host, Place};
use super::tool::{command, tool};
use super::{engine, net};

/// What a daemon gets to end by itself.
const GRACE: Duration = Duration::from_secs(4);
/// What a killed process gets to be gone.
const GONE: Duration = Duration::from_secs(10);
/// Containers are removed with their engine's help, if it helps.
const EMPTY: Duration = Duration::from_secs(8);
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

/// Takes away containers, engines, processes, mounts, namespaces and files. What is not
/// there is no error, so that it can be done again after it was itself stopped half-way.
///
/// # Errors
/// When something stays all the same: what, and why.
pub async fn sweep(place: &Place) -> Result<()> {
    let emptied =
        futures_lite::future::zip(engine::empty(place, Host::A), engine::empty(place, Host::B));
    // One that hangs is killed below.
    let _ = tokio::time::timeout(EMPTY, emptied).await;
    end_processes(place).await?;
    remove_control_groups();
    unmount(&place.dir).await?;
    net::remove().await?;
    remove_files(&place.dir).await
}

/// Whether there is anything to take away.
pub fn anything(place: &Place) -> bool {
    Host::ALL.into_iter().any(net::exists) || place.dir.exists()
}

/// Asks the daemons to end, then kills all that is left: whatever the hosts hold goes with
/// them, so there is nothing to be gentle for.
async fn end_processes(place: &Place) -> Result<()> {
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

async fn unmount(dir: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    // The last mounted first.
    for mount in mount_points(&mounts, dir).into_iter().rev() {
        let mut umount = command(["umount", "--lazy"]);
        umount.arg(&mount);
        tool(umount).await?;
    }
    Ok(())
}

/// The mount points below `dir`, in the order of the table.
fn mount_points(table: &str, dir: &Path) -> Vec<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        // As the kernel writes what would end the column.
        .map(|point| point.replace("\\040", " ").replace("\\011", "\t"))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(dir))
        .collect()
}

/// Removes the control groups of containers whose engine was killed before it could. One that
/// stays is empty, and costs nothing.
fn remove_control_groups() {
    let root = Path::new("/sys/fs/cgroup");
    // One tree with version 2 of control groups, with version 1 one for each controller.
    let trees = fs::read_dir(root).into_iter().flatten().flatten();
    let trees = trees.map(|tree| tree.path()).chain([root.to_path_buf()]);
    for tree in trees {
        let ours = tree.join(engine::CGROUP);
        for container in fs::read_dir(&ours).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(container.path());
        }
        let _ = fs::remove_dir(ours);
    }
}

async fn remove_files(dir: &Path) -> Result<()> {
    let deadline = Instant::now() + GONE;
    loop {
        match fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // What is just being let go of may still be busy.
            Err(_) if Instant::now() < deadline => sleep(POLL).await,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_this_clone_are_told_from_others() {
        let table = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
90 22 0:40 / /w/t/lab/hosts/a/data/overlay2/x/merged rw - overlay overlay rw
91 22 0:41 / /w/t/lab/hosts-too rw - tmpfs tmpfs rw
92 22 0:4 net:[4] /w/t/lab/hosts/a/exec/net\\040ns/x rw - nsfs nsfs rw
";
        let found = mount_points(table, Path::new("/w/t/lab/hosts"));
        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            found,
            [
                "/w/t/lab/hosts/a/data/overlay2/x/merged",
                "/w/t/lab/hosts/a/exec/net ns/x"
            ]
        );
    }

    #[test]
    fn who_called_us_is_spared() {
        let callers = callers();
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(callers[0], own);
        assert!(parent <= 1 || callers.contains(&parent), "{callers:?}");
    }
}
