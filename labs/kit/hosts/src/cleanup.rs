//! Removes everything of both hosts, whatever state they are in. What belongs to them is found
//! by its network, its path or its arguments, not by records that a killed command could not keep.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::host::{Host, HostsDir};
use super::tool::{command, run};
use super::{docker, network, processes};

/// How long to wait for busy files to be released.
const FILES_RELEASED: Duration = Duration::from_secs(10);
/// How long the engines may take to remove their containers.
const CONTAINERS_REMOVED: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(50);

/// Removes containers, engines, processes, mounts, namespaces and files. What does not exist is
/// not an error, so a clean-up that was stopped halfway can be repeated.
///
/// # Errors
/// When something cannot be removed: what, and why.
pub(crate) async fn clean_up(hosts_dir: &HostsDir) -> Result<()> {
    let [a, b] = Host::ALL.map(|host| docker::remove_containers(hosts_dir, host));
    let removed = futures_lite::future::zip(a, b);
    // An engine that hangs is killed in the next step.
    let _ = tokio::time::timeout(CONTAINERS_REMOVED, removed).await;
    processes::end_all(hosts_dir).await?;
    remove_control_groups();
    unmount(&hosts_dir.path).await?;
    network::remove().await?;
    remove_files(&hosts_dir.path).await
}

/// Whether a host, or any of their files, still exists.
#[must_use]
pub fn has_leftovers(hosts_dir: &HostsDir) -> bool {
    Host::ALL.into_iter().any(network::exists) || hosts_dir.path.exists()
}

async fn unmount(dir: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    // A mount may lie inside an earlier one, so the last goes first.
    for mount in mount_points(&mounts, dir).into_iter().rev() {
        let mut umount = command(["umount", "--lazy"]);
        umount.arg(&mount);
        run(umount).await?;
    }
    Ok(())
}

/// The mount points below `dir`, in the order of the table.
fn mount_points(table: &str, dir: &Path) -> Vec<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        // The kernel escapes what would end the column.
        .map(|point| point.replace("\\040", " ").replace("\\011", "\t"))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(dir))
        .collect()
}

/// Removes the control groups of containers whose engine was killed before it removed them. A
/// failure is ignored: an empty control group costs nothing.
fn remove_control_groups() {
    let root = Path::new("/sys/fs/cgroup");
    // Version 2 of control groups has one tree, version 1 one for each controller.
    let trees = fs::read_dir(root).into_iter().flatten().flatten();
    let trees = trees.map(|tree| tree.path()).chain([root.to_path_buf()]);
    for tree in trees {
        let ours = tree.join(docker::CGROUP);
        for container in fs::read_dir(&ours).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(container.path());
        }
        let _ = fs::remove_dir(ours);
    }
}

async fn remove_files(dir: &Path) -> Result<()> {
    let deadline = Instant::now() + FILES_RELEASED;
    loop {
        match fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // A process that has just ended may still hold a file.
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
    fn only_mounts_of_this_clone_are_found() {
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
}
