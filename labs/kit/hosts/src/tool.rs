//! The system's own tools, each called through one function that keeps their words.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Longer than any of these takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `command` to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started, does not end within [`PATIENCE`], or fails: the error holds
/// the command and its own words.
pub async fn tool(command: Command) -> Result<String> {
    tool_within(PATIENCE, command).await
}

/// [`tool`] for what takes longer.
///
/// # Errors
/// As those of [`tool`].
pub async fn tool_within(patience: Duration, command: Command) -> Result<String> {
    tool_from(Stdio::null(), patience, command).await
}

/// [`tool_within`] for what reads.
///
/// # Errors
/// As those of [`tool`].
pub async fn tool_from(input: Stdio, patience: Duration, mut command: Command) -> Result<String> {
    command.stdin(input).kill_on_drop(true);
    let typed = typed(&command);
    let output = tokio::time::timeout(patience, command.output()).await;
    let output = output
        .map_err(|_| anyhow::anyhow!("`{typed}` does not end within {} s", patience.as_secs()))?
        .with_context(|| format!("`{typed}` cannot be run"))?;
    if !output.status.success() {
        bail!("`{typed}` failed: {}", gist(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command of `words`, the first of which is the program. Looks also where an ordinary
/// user's PATH does not.
pub fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Command {
    let mut words = words.into_iter();
    let mut command = match words.next() {
        Some(program) => Command::new(program),
        None => Command::new("false"),
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(words)
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    command
}

/// `ip link set lab0 up` and the like, written as one types it.
///
/// # Errors
/// As those of [`tool`].
pub async fn sh(line: &str) -> Result<String> {
    tool(command(line.split_whitespace())).await
}

fn typed(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What a failed command said: its last lines.
fn gist(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    let words = match words.trim() {
        "" => String::from_utf8_lossy(&output.stdout),
        _ => words,
    };
    let lines: Vec<&str> = words.trim().lines().map(str::trim).collect();
    match lines.len() {
        0 => format!("{}, without a word", output.status),
        n => lines[n.saturating_sub(4)..].join("; "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_error_holds_the_command_and_its_words() {
        actix_web::rt::System::new().block_on(async {
            assert_eq!(sh("echo two words").await.unwrap(), "two words");
            let failed = tool(command(["sh", "-c", "echo out; echo err >&2; exit 3"])).await;
            let error = failed.unwrap_err().to_string();
            assert_eq!(error, "`sh -c echo out; echo err >&2; exit 3` failed: err");
            let silent = sh("false").await.unwrap_err().to_string();
            assert!(silent.contains("exit status: 1"), "{silent}");
            let absent = sh("no-such-tool-here").await.unwrap_err().to_string();
            assert!(absent.contains("cannot be run"), "{absent}");
            let slow = tool_within(Duration::from_millis(50), command(["sleep", "9"])).await;
            assert!(slow.unwrap_err().to_string().contains("does not end"));
        });
    }
}
