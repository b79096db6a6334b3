//! Finds out which tools are installed, and what they print about themselves.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// A Docker client whose engine hangs would otherwise hang us.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first line that a tool prints; `None` when it cannot be started, fails, or takes more
/// than 5 s.
pub async fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.ok()?.ok()?;
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
