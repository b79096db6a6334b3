//! A chapter's checks as a program: the one of the solution. It can also check other programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use serde_json::Value;

use super::cargo::cargo;
use super::mutant::Mutant;
use super::run::Verdict;

/// The checks of one chapter.
pub struct Checks {
    paths: Paths,
    number: String,
    package: String,
    program: OnceLock<PathBuf>,
}

/// The result of a run of checks.
struct Finished {
    code: Option<i32>,
    report: Value,
    printed: String,
}

impl Checks {
    /// The checks of `chapter`, not built yet.
    pub fn new(paths: &Paths, chapter: &Chapter) -> Self {
        Self {
            paths: paths.clone(),
            number: chapter.number.clone(),
            package: chapter.package(Variant::Solution),
            program: OnceLock::new(),
        }
    }

    /// Builds them, and the solution.
    pub fn build(&self) -> Result<()> {
        let package = &self.package;
        let build = ["test", "--no-run", "--message-format=json"];
        let what = ["--test", "checks", "-p", package];
        let said = cargo(&self.paths, &[&build[..], &what].concat())?;
        let path = said.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let ours = message["target"]["name"] == "checks";
            Some(PathBuf::from(
                message["executable"].as_str().filter(|_| ours)?,
            ))
        });
        let path = path.with_context(|| format!("cargo built no checks of {package}"))?;
        // The checks are built once, so this is not set yet.
        let _ = self.program.set(path);
        Ok(())
    }

    /// Runs the checks in a separate folder, against `program` if there is one, else the solution.
    fn run(&self, name: &str, program: Option<&Path>, arguments: &[&str]) -> Result<Finished> {
        let dir = self.paths.data().join("proofs");
        let dir = dir.join(format!("{}-{name}", self.number));
        let checks = self.program.get().context("the checks are not built")?;
        let mut command = Command::new(checks);
        command
            .args(arguments)
            .current_dir(&self.paths.root)
            .env("CARGO_TARGET_DIR", &self.paths.target)
            .env("LAB_RUN_DIR", &dir)
            .env("LAB_PARENT", std::process::id().to_string())
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

    /// The solution passes every check.
    pub fn pass(&self) -> Result<Verdict> {
        let finished = self.run("solution", None, &[])?;
        let all = finished.checks().count();
        Ok(finished.judge(&[
            (
                finished.code == Some(0),
                "the solution does not pass".into(),
            ),
            (
                all > 0 && finished.report["passed"] == all,
                "not every check passed".into(),
            ),
        ]))
    }

    /// `program`, the pristine lab, fails, and its report names HOLE 1 next.
    pub fn fail_at_first_hole(&self, program: &Path) -> Result<Verdict> {
        let finished = self.run("pristine", Some(program), &[])?;
        Ok(finished.judge(&[
            (
                finished.report["status"] == "fail",
                "its verdict is not `fail`".into(),
            ),
            (
                finished.report["next"]["hole"] == 1,
                "its report does not name HOLE 1 next".into(),
            ),
        ]))
    }

    /// The check that the mutant names catches `program`, with the words that the mutant names.
    pub fn catch(&self, mutant: &Mutant, program: &Path) -> Result<Verdict> {
        let finished = self.run(&mutant.file, Some(program), &["--only", &mutant.check])?;
        let check = finished
            .checks()
            .next()
            .context("the report has no check")?;
        let parts = ["expected", "observed", "why"].map(|part| text(check, part));
        let (check_name, words) = (&mutant.check, &mutant.text);
        Ok(finished.judge(&[
            (
                check["status"] == "fail",
                format!("`{check_name}` did not catch it"),
            ),
            (
                parts.join(" ").contains(words.as_str()),
                format!("it was caught, but without the words `{words}`"),
            ),
        ]))
    }
}

impl Finished {
    fn checks(&self) -> impl Iterator<Item = &Value> {
        self.report["checks"].as_array().into_iter().flatten()
    }

    /// The first property that does not hold refutes the proof, with everything that was printed. A
    /// check with verdict *unknown* proves nothing.
    fn judge(&self, properties: &[(bool, String)]) -> Verdict {
        let printed = &self.printed;
        if self.checks().any(|check| check["status"] == "unknown") {
            return Verdict::Unknown(format!("a check has no verdict:\n{printed}"));
        }
        match properties.iter().find(|(holds, _)| !holds) {
            Some((_, wrong)) => Verdict::Refuted(format!("{wrong}:\n{printed}")),
            None => Verdict::Proved,
        }
    }
}

fn text<'a>(check: &'a Value, part: &str) -> &'a str {
    check["failure"][part].as_str().unwrap_or_default()
}
