//! Claims a node's folder for a keeper: takes the lock, cleans up after a killed keeper, and checks
//! the disk.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::sleep;

use super::NoBroker;
use super::compose::Project;
use super::node_dir::{NodeDir, Source, State, open_private};

/// The free disk space in kB that a node needs; below it RabbitMQ may block its publishers.
const DISK_KB: u64 = 48 * 1024;
/// How long to wait before the next try to lock or to remove.
const POLL: Duration = Duration::from_millis(10);

/// Locks the folder. `None` when another keeper holds it.
pub(super) async fn lock(node: &NodeDir, source: Source) -> Result<Option<File>> {
    let mut file = open_private(&node.keeper_lock(), false).context("cannot open keeper.lock")?;
    // A command that looks at the lock holds it for an instant. That is not a keeper.
    let deadline = Instant::now() + Duration::from_millis(300);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(POLL).await,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e).context("cannot lock the folder"),
        }
    }
    let source = if source == Source::Compose {
        "compose"
    } else {
        "private"
    };
    file.set_len(0)?;
    writeln!(file, "{} {source}", std::process::id())?;
    Ok(Some(file))
}

/// Cleans up after a killed keeper. Its node has ended by the lifeline, unless the node was frozen or
/// runs in a container.
pub(super) async fn clean_up(node: &NodeDir) -> Result<()> {
    if let Some(state) = node.state()
        && state.source == Source::Private
    {
        kill_orphan(&state).await;
    }
    if node.compose_mark().exists() {
        Project::of(node).down().await;
    }
    // A dying node may still write a file into the folder while it is removed.
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        match node.clean() {
            Err(_) if Instant::now() < deadline => sleep(POLL).await,
            result => {
                return result.with_context(|| format!("cannot empty {}", node.dir.display()));
            }
        }
    }
}

async fn kill_orphan(state: &State) {
    let Some(pid) = state.vm_pid else { return };
    let asked = Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .await;
    // Another process may have the pid by now. The node's random name is in its arguments.
    let ours = asked
        .is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(state.node_name.as_str()));
    if ours {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Fails when the disk is too full for a node.
pub(super) async fn check_disk(dir: &Path) -> Result<()> {
    let df = Command::new("df").arg("-Pk").arg(dir).output();
    let Ok(out) = df.await else { return Ok(()) };
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().last().unwrap_or_default();
    let free = line
        .split_whitespace()
        .nth(3)
        .and_then(|kb| kb.parse::<u64>().ok());
    match free {
        Some(kb) if kb < DISK_KB => bail!(NoBroker {
            why: format!(
                "only {} MB are free on the disk of {}; a node needs {} MB",
                kb / 1024,
                dir.display(),
                DISK_KB / 1024
            ),
            mend: "export CARGO_TARGET_DIR=<a folder on a disk with space>".into(),
        }),
        _ => Ok(()),
    }
}
