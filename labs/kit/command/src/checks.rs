//! Runs a chapter's checks against any program, in a folder of its own, and reads their report.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use course::paths::Paths;
use course::report::Report;

/// The result of a run of checks.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none when a signal ended the checks.
    pub code: Option<i32>,
    /// `report.json`.
    pub report: Report,
    /// All that the checks printed.
    pub printed: String,
}

/// A program to check, instead of the one that the checks were built with.
#[derive(Debug, Clone, Copy)]
pub struct Other<'a> {
    /// The program.
    pub program: &'a Path,
    /// The folder with its sources, where they have holes.
    pub sources: Option<&'a Path>,
}

/// Runs the program `checks` with these arguments, and waits for it. What it leaves is in `dir`. It
/// checks the `other` program if there is one, else the package that it was built with.
///
/// # Errors
/// When the checks cannot be started, or write no report.
pub fn run(
    paths: &Paths,
    checks: &Path,
    dir: &Path,
    other: Option<Other<'_>>,
    arguments: &[&str],
) -> Result<Finished> {
    let mut command = Command::new(checks);
    command
        .args(arguments)
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .env("LAB_RUN_DIR", dir)
        .env("LAB_PARENT", std::process::id().to_string())
        .env_remove("LAB_PROGRAM")
        .env_remove("LAB_SOURCES")
        .stdin(Stdio::null());
    if let Some(other) = other {
        command.env("LAB_PROGRAM", other.program);
        command.envs(other.sources.map(|sources| ("LAB_SOURCES", sources)));
    }
    let _ = std::fs::remove_file(dir.join("report.json"));
    let output = command.output().context("the checks cannot be started")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let report = Report::read(&dir.join("report.json"))
        .with_context(|| format!("no report.json; the checks printed:\n{printed}"))?;
    Ok(Finished {
        code: output.status.code(),
        report,
        printed,
    })
}
