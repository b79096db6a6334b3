//! A chapter's search as a program: the one of the solution. It searches other programs, too.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use course::chapter::Chapter;
use course::mutants::TimingMutant;
use course::paths::Paths;
use serde::Deserialize;

use super::program::Program;
use super::run::Verdict;

/// The time in which a search finds each timing mutant, beside two other proofs and the compiler: alone it
/// takes a third of it.
const WITHIN: &str = "180s";

/// The search of one chapter.
pub struct Search {
    paths: Paths,
    number: String,
    program: Program,
}

/// What this proof reads of a search's report.
#[derive(Debug, Deserialize)]
struct Report {
    smallest: Option<Smallest>,
}

#[derive(Debug, Deserialize)]
struct Smallest {
    trouble: String,
}

impl Search {
    /// The search of `chapter`, not built yet.
    pub fn new(paths: &Paths, chapter: &Chapter) -> Self {
        Self {
            paths: paths.clone(),
            number: chapter.number.clone(),
            program: Program::new(paths, chapter, "search", &["--features", "search"]),
        }
    }

    /// Builds it, and the solution.
    pub fn build(&self) -> Result<()> {
        self.program.build()
    }

    /// A search of `program` finds what the mutant says. It makes the fault small only when told to
    /// `shrink`: that takes as long as to find it.
    pub fn finds(&self, mutant: &TimingMutant, program: &Path, shrink: bool) -> Result<Verdict> {
        let name = format!("{}-timing-{}", self.number, mutant.file);
        let dir = self.paths.data().join("proofs").join(name);
        let report = dir.join("search.json");
        let _ = std::fs::remove_file(&report);
        let output = Command::new(self.program.path()?)
            .args(["--fresh", "--for", WITHIN])
            .args((!shrink).then_some("--no-shrink"))
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
        Ok(match smallest.trouble == mutant.finds {
            true => Verdict::Proved,
            false => Verdict::Refuted(format!("it did not find `{}`:\n{printed}", mutant.finds)),
        })
    }
}
