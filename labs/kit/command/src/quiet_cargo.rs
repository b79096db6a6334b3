//! Runs cargo in the clone's root and target folder, and shows its messages only when it fails: what it
//! says of a wrong answer's source is not for students. Low priority: proofs run beside it.
//! Cargo ends when this program ends, for whatever reason.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use course::paths::Paths;
use process::guard;

/// Runs cargo, and returns its standard output.
///
/// # Errors
/// When cargo fails, with its messages.
pub fn cargo(paths: &Paths, arguments: &[&str]) -> Result<String> {
    let mut guard = Command::new(process::this_program()?)
        .args([guard::IN_FRONT, "nice", "-n", "10", env!("CARGO")])
        .args(arguments)
        .arg("--quiet")
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        // The guard kills cargo when this pipe ends; Ctrl-C must not kill the guard first.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo cannot be started")?;
    // `wait_with_output` closes the pipe, so keep it here.
    let lifeline = guard.stdin.take();
    let output = guard.wait_with_output()?;
    drop(lifeline);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo {} failed:\n{said}",
        arguments.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}
