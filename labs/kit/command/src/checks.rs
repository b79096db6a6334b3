//! Runs a chapter's checks against any program, in a folder of its own, and reads their report.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use course::paths::Paths;
use serde_json::Value;

/// The result of a run of checks.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none when a signal ended the checks.
    pub code: Option<i32>,
    /// `report.json`.
    pub report: Value,
    /// All that the checks printed.
    pub printed: String,
}

/// Runs the program `checks` with these arguments, and waits for it. What it leaves is in `dir`. It
/// checks `program` if there is one, else the package that it was built with.
///
/// # Errors
/// When the checks cannot be started, or write no report.
pub fn run(
    paths: &Paths,
    checks: &Path,
    dir: &Path,
    program: Option<&Path>,
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
        .stdin(Stdio::null());
    if let Some(program) = program {
        command.env("LAB_PROGRAM", program);
    }
    let _ = std::fs::remove_file(dir.join("report.json"));
    let output = command.output().context("the checks cannot be started")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read(dir.join("report.json"))
        .with_context(|| format!("no report.json; the checks printed:\n{printed}"))?;
    Ok(Finished {
        code: output.status.code(),
        report: serde_json::from_slice(&report)?,
        printed,
    })
}

impl Finished {
    /// The checks that were run, as in the report.
    pub fn checks(&self) -> impl Iterator<Item = &Value> {
        self.report["checks"].as_array().into_iter().flatten()
    }
}
