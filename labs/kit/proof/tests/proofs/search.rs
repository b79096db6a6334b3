//! A chapter's search as a program: the one of the solution. It searches other programs, too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::mutants::TimingMutant;
use course::paths::Paths;
use serde::Deserialize;

use super::checks::built;
use super::run::Verdict;

/// The time in which a search finds each timing mutant, beside two other proofs and the compiler: alone it
/// takes a third of it.
const WITHIN: &str = "180s";
/// The most faults that it takes.
const FEW: usize = 2;

/// The search of one chapter.
pub struct Search {
    paths: Paths,
    number: String,
    package: String,
    program: OnceLock<PathBuf>,
}

/// What this proof reads of a search's report.
#[derive(Debug, Deserialize)]
struct Report {
    smallest: Option<Smallest>,
}

#[derive(Debug, Deserialize)]
struct Smallest {
    faults: Vec<String>,
    trouble: String,
}

impl Search {
    /// The search of `chapter`, not built yet.
    pub fn new(paths: &Paths, chapter: &Chapter) -> Self {
        Self {
            paths: paths.clone(),
            number: chapter.number.clone(),
            package: chapter.package(Variant::Solution),
            program: OnceLock::new(),
        }
    }

    /// Builds it, and the solution.
    pub fn build(&self) -> Result<()> {
        let path = built(&self.paths, &self.package, "search")?;
        // It is built once, so this is not set yet.
        let _ = self.program.set(path);
        Ok(())
    }

    /// A search of `program` finds what the mutant says, with few faults.
    pub fn finds(&self, mutant: &TimingMutant, program: &Path) -> Result<Verdict> {
        let search = self.program.get().context("the search is not built")?;
        let name = format!("{}-timing-{}", self.number, mutant.file);
        let dir = self.paths.data().join("proofs").join(name);
        let report = dir.join("search.json");
        let _ = std::fs::remove_file(&report);
        let output = Command::new(search)
            .args(["--fresh", "--for", WITHIN])
            .current_dir(&self.paths.root)
            .env("CARGO_TARGET_DIR", &self.paths.target)
            .env("LAB_RUN_DIR", &dir)
            .env("LAB_PARENT", std::process::id().to_string())
            .env("LAB_PROGRAM", program)
            .stdin(Stdio::null())
            .output()
            .context("the search cannot be started")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let Ok(text) = std::fs::read_to_string(&report) else {
            return Ok(Verdict::Unknown(format!("it wrote no report:\n{printed}")));
        };
        let report: Report = serde_json::from_str(&text)?;
        let Some(smallest) = report.smallest else {
            return Ok(Verdict::Refuted(format!("it found nothing:\n{printed}")));
        };
        let right = smallest.trouble == mutant.finds && smallest.faults.len() <= FEW;
        Ok(match right {
            true => Verdict::Proved,
            false => Verdict::Refuted(format!("it did not find `{}`:\n{printed}", mutant.finds)),
        })
    }
}
