//! Runs a short program and takes its output; finds out which tools are installed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

/// Without a limit, a Docker client whose engine hangs would make us hang.
const LIMIT: Duration = Duration::from_secs(5);

/// What `program` with `args` prints, and how it ends. It reads nothing.
///
/// # Errors
/// When it cannot be started, or still runs after `limit`; then it is killed.
pub async fn output_of(
    program: impl AsRef<OsStr>,
    args: &[&str],
    limit: Duration,
) -> Result<Output> {
    let program = program.as_ref();
    let shown = Path::new(program).display();
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(limit, command.output())
        .await
        .with_context(|| format!("{shown} still runs after {limit:?}"))?
        .with_context(|| format!("cannot start {shown}"))
}

/// The first line that a tool prints; `None` when it cannot be started, fails, or hangs.
pub async fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = output_of(program, args, LIMIT).await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    output.status.success().then(|| line.trim().to_owned())
}

/// Whether a program of that name is on PATH.
#[must_use]
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
