//! A chapter's checks as a program: the one of the solution. It can also check other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use command::checks::{self, Finished, Other};
use course::chapter::Chapter;
use course::manifest::Prediction;
use course::mutants::Mutant;
use course::paths::Paths;
use course::report::Status;

use super::program::Program;
use super::run::Verdict;
use super::rungs::Rung;
use super::table::{Row, Table};

/// The lines of a terminal.
const SCREEN: usize = 24;

/// The checks of one chapter.
pub struct Checks {
    paths: Paths,
    number: String,
    program: Program,
}

impl Checks {
    /// The checks of `chapter`, not built yet.
    pub fn new(paths: &Paths, chapter: &Chapter) -> Self {
        Self {
            paths: paths.clone(),
            number: chapter.number.clone(),
            program: Program::new(paths, chapter, "checks", &[]),
        }
    }

    /// Builds them, and the solution.
    pub fn build(&self) -> Result<()> {
        self.program.build()
    }

    /// Runs the checks in a separate folder, against `program` if there is one, else the solution.
    fn run(&self, name: &str, program: Option<&Path>, arguments: &[&str]) -> Result<Finished> {
        let other = program.map(|program| Other {
            program,
            sources: None,
        });
        self.run_other(name, other, arguments)
    }

    fn run_other(
        &self,
        name: &str,
        other: Option<Other<'_>>,
        arguments: &[&str],
    ) -> Result<Finished> {
        let checks = self.program.path()?;
        checks::run(&self.paths, checks, &self.dir(name), other, arguments)
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.paths.data().join("proofs");
        dir.join(format!("{}-{name}", self.number))
    }

    /// The solution passes every check.
    pub fn pass(&self) -> Result<Verdict> {
        let finished = self.run("solution", None, &[])?;
        let all = finished.report.checks.len();
        Ok(finished.judge(&[
            (
                finished.code == Some(0),
                "the solution does not pass".into(),
            ),
            (
                all > 0 && finished.report.passed == all,
                "not every check passed".into(),
            ),
        ]))
    }

    /// `program` has the rung's holes filled: it passes their checks, fails one of the next hole at
    /// least, and the report leads there; the first report on one screen.
    pub fn lead_to_the_next_hole(&self, rung: &Rung, program: &Path) -> Result<Verdict> {
        let other = Other {
            program,
            sources: Some(&rung.sources),
        };
        let finished = self.run_other(&rung.name(), Some(other), &[])?;
        let next = rung.filled + 1;
        let (mut passed, mut failed, mut required) = (true, false, false);
        for check in &finished.report.checks {
            if check.hole <= rung.filled {
                passed &= check.status == Status::Pass;
            } else {
                failed |= check.status == Status::Fail;
                required |= !check.optional;
            }
        }
        let leads = finished.report.next.as_ref().map(|next| next.hole) == Some(next);
        let lines = finished.printed.lines().count();
        Ok(finished.judge(&[
            (
                passed,
                format!("a check of the holes up to {} fails", rung.filled),
            ),
            (
                failed,
                format!("HOLE {next} turns no check green: all pass without it"),
            ),
            (
                leads || !required,
                format!("its report does not lead to HOLE {next}"),
            ),
            (
                rung.filled > 0 || lines <= SCREEN,
                format!("the first report has {lines} lines, more than {SCREEN}"),
            ),
        ]))
    }

    /// Every check passes the right answer `program`, whose runs are kept under `name`.
    pub fn accept(&self, name: &str, program: &Path) -> Result<Verdict> {
        let finished = self.run(name, Some(program), &[])?;
        let all = finished.report.checks.len();
        Ok(finished.judge(&[(
            finished.code == Some(0) && finished.report.passed == all,
            "a right answer in another style does not pass".into(),
        )]))
    }

    /// The check that the mutant names catches `program`, with the words that the mutant names, and the
    /// report leads to its hole.
    pub fn catch(&self, mutant: &Mutant, program: &Path) -> Result<Verdict> {
        let finished = self.run(&mutant.file, Some(program), &["--only", &mutant.check])?;
        let check = finished
            .report
            .checks
            .first()
            .context("the report has no check")?;
        let words_seen = check.failure.as_ref().map_or(String::new(), |detail| {
            [&*detail.expected, &detail.observed, &detail.why].join(" ")
        });
        let next = finished.report.next.as_ref().map(|next| next.hole);
        let (check_name, words) = (&mutant.check, &mutant.text);
        Ok(finished.judge(&[
            (
                check.status == Status::Fail,
                format!("`{check_name}` did not catch it"),
            ),
            (
                words_seen.contains(words.as_str()),
                format!("it was caught, but without the words `{words}`"),
            ),
            (
                mutant.hole.is_none() || next == mutant.hole,
                format!("it leads to {}, not to {}", hole(next), hole(mutant.hole)),
            ),
        ]))
    }

    /// A run of all checks leads to the mutant's hole. Adds what it saw to the table.
    pub fn lead(&self, mutant: &Mutant, program: &Path, table: &Table) -> Result<Verdict> {
        let finished = self.run(&format!("all-{}", mutant.file), Some(program), &[])?;
        let next = finished.report.next.as_ref().map(|next| next.hole);
        let failed = finished.report.checks.iter();
        let failed = failed.filter(|check| check.status == Status::Fail);
        let failed: Vec<String> = failed.map(|check| check.check.clone()).collect();
        let caught = !failed.is_empty();
        table.add(Row {
            chapter: self.number.clone(),
            mutant: mutant.file.clone(),
            checks: finished
                .report
                .checks
                .iter()
                .map(|check| check.check.clone())
                .collect(),
            failed,
            leads: mutant.hole.is_none() || next == mutant.hole,
        });
        Ok(finished.judge(&[
            (caught, "no check caught it".into()),
            (
                mutant.hole.is_none() || next == mutant.hole,
                format!("it leads to {}, not to {}", hole(next), hole(mutant.hole)),
            ),
        ]))
    }

    /// What the question asks for is seen as its answer says, in the run that it names: of `program`, or
    /// of the solution. `folder` is a name for the run's folder.
    pub fn foretell(
        &self,
        asked: &Prediction,
        folder: &str,
        program: Option<&Path>,
    ) -> Result<Verdict> {
        let finished = self.run(folder, program, &["--only", &asked.run])?;
        let check = finished
            .report
            .checks
            .first()
            .with_context(|| format!("no check `{}`:\n{}", asked.run, finished.printed))?;
        let passed = check.status == Status::Pass;
        let journal = self.dir(folder).join(&asked.run).join("journal.jsonl");
        let seen = asked.seen(&std::fs::read_to_string(journal)?, passed)?;
        let (ask, answer) = (&asked.ask, &asked.answer);
        Ok(finished.judge(&[
            (
                passed || program.is_some(),
                format!("the solution fails the check of `{ask}`"),
            ),
            (
                seen == *answer,
                format!("`{ask}` was seen as `{seen}`, not as its answer says, `{answer}`"),
            ),
        ]))
    }
}

fn hole(number: Option<u32>) -> String {
    number.map_or("no hole".to_owned(), |number| format!("HOLE {number}"))
}

trait Judge {
    fn judge(&self, properties: &[(bool, String)]) -> Verdict;
}

impl Judge for Finished {
    /// The first property that does not hold refutes the proof, with everything that was printed. A
    /// check with verdict *unknown* proves nothing.
    fn judge(&self, properties: &[(bool, String)]) -> Verdict {
        let printed = &self.printed;
        if self
            .report
            .checks
            .iter()
            .any(|check| check.status == Status::Unknown)
        {
            return Verdict::Unknown(format!("a check has no verdict:\n{printed}"));
        }
        match properties.iter().find(|(holds, _)| !holds) {
            Some((_, wrong)) => Verdict::Refuted(format!("{wrong}:\n{printed}")),
            None => Verdict::Proved,
        }
    }
}
