//! Taking everything away, whatever state it is in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::place::{Host, Place};
use super::tool::{command, tool};
use super::{engine, net, processes};

/// What is being let go of gets to be gone.
const GONE: Duration = Duration::from_secs(10);
/// Containers are removed with their engine's help, if it helps.
const EMPTY: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(50);

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
    processes::end(place).await?;
    remove_control_groups();
    unmount(&place.dir).await?;
    net::remove().await?;
    remove_files(&place.dir).await
}

/// Whether there is anything to take away.
pub fn anything(place: &Place) -> bool {
    Host::ALL.into_iter().any(net::exists) || place.dir.exists()
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
}
