//! Runs the system's tools, such as `ip` and `docker`; an error holds their own message.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// How long a tool may take. Most need far less than a second.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `command` to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started, does not end within [`TIMEOUT`], or fails: the error holds
/// the command and its own message.
pub async fn run(command: Command) -> Result<String> {
    run_within(TIMEOUT, command).await
}

/// [`run`] with another time limit.
///
/// # Errors
/// Those of [`run`].
pub async fn run_within(limit: Duration, command: Command) -> Result<String> {
    run_with_input(Stdio::null(), limit, command).await
}

/// [`run_within`] with a standard input.
///
/// # Errors
/// Those of [`run`].
pub(crate) async fn run_with_input(
    input: Stdio,
    limit: Duration,
    mut command: Command,
) -> Result<String> {
    command.stdin(input).kill_on_drop(true);
    let typed = as_typed(&command);
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output
        .map_err(|_| anyhow::anyhow!("`{typed}` does not end within {} s", limit.as_secs()))?
        .with_context(|| format!("`{typed}` cannot be run"))?;
    if !output.status.success() {
        bail!("`{typed}` failed: {}", last_lines(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command of `words`, the first of which is the program. Searches the system's `sbin` folders,
/// too, which an ordinary user's `PATH` may lack.
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

/// Runs a command line as one types it, such as `ip link set lab0 up`. It must hold no quotes.
///
/// # Errors
/// Those of [`run`].
pub(crate) async fn run_line(line: &str) -> Result<String> {
    run(command(line.split_whitespace())).await
}

fn as_typed(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of a failed command's message.
fn last_lines(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    let words = match words.trim() {
        "" => String::from_utf8_lossy(&output.stdout),
        _ => words,
    };
    let lines: Vec<&str> = words.trim().lines().map(str::trim).collect();
    match lines.len() {
        0 => format!("{}, and it printed nothing", output.status),
        n => lines[n.saturating_sub(4)..].join("; "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_error_holds_the_command_and_its_message() {
        actix_web::rt::System::new().block_on(async {
            assert_eq!(run_line("echo two words").await.unwrap(), "two words");
            let failed = run(command(["sh", "-c", "echo out; echo err >&2; exit 3"])).await;
            let error = failed.unwrap_err().to_string();
            assert_eq!(error, "`sh -c echo out; echo err >&2; exit 3` failed: err");
            let silent = run_line("false").await.unwrap_err().to_string();
            assert!(silent.contains("exit status: 1"), "{silent}");
            let absent = run_line("no-such-tool-here").await.unwrap_err().to_string();
            assert!(absent.contains("cannot be run"), "{absent}");
            let slow = run_within(Duration::from_millis(50), command(["sleep", "9"])).await;
            assert!(slow.unwrap_err().to_string().contains("does not end"));
        });
    }
}
