//! Runs one check of a chapter for real: against the solution, or against one of its wrong answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anstream::eprintln;
use anyhow::{Context, Result};
use command::cargo::{Built, Product, build};
use command::checks::{self, Other};
use command::crates::Crates;
use course::chapter::{Chapter, Variant};
use course::mutants::Mutant;
use course::paths::Paths;
use course::report::{Line, Status};
use process::stop::{Ended, asked, until_stopped};
use terminal::{DIM, UNKNOWN, user_error};

/// How often a check may end without a verdict, as on a busy machine.
const ATTEMPTS: usize = 3;

/// A chapter's checks, and the programs that they can check.
#[derive(Debug)]
pub struct Runs {
    paths: Paths,
    chapter: Chapter,
    checks: PathBuf,
    dir: PathBuf,
    crates: Crates,
    programs: BTreeMap<String, PathBuf>,
}

/// What a run of one check came to.
#[derive(Debug)]
pub struct Seen {
    /// The check's sentence.
    pub says: String,
    /// Whether it passed.
    pub passed: bool,
    /// What it expected, observed and why that matters; empty when it passed.
    pub failure: Vec<(&'static str, String)>,
    /// The journal of the run.
    pub journal: PathBuf,
}

impl Runs {
    /// Builds the checks of a chapter's solution. What the runs leave is in `dir`.
    ///
    /// # Errors
    /// When they cannot be built here.
    pub fn build(paths: &Paths, chapter: &Chapter, dir: PathBuf) -> Result<Ended<Self>> {
        eprintln!("{DIM}·{DIM:#} building the solution of {}", chapter.number);
        let building = build(paths, chapter, Variant::Solution, Product::Checks);
        let checks = match until_stopped(building)? {
            Ended::Stopped(code) => return Ok(Ended::Stopped(code)),
            Ended::Done(Built::Program(checks)) => checks,
            Ended::Done(Built::CompileError) => {
                let folder = paths.short(&chapter.solution);
                return Err(user_error(
                    format!("the solution does not compile: rustc says above why {folder} differs"),
                    format!("put it back: git checkout {folder}"),
                ));
            }
        };
        end_when_asked();
        Ok(Ended::Done(Self {
            crates: Crates::new(paths, dir.join("crates"))?,
            paths: paths.clone(),
            chapter: chapter.clone(),
            checks,
            dir,
            programs: BTreeMap::new(),
        }))
    }

    /// Builds the solution with a wrong answer as a program called `name`.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn mutant(&mut self, mutant: &Mutant, name: &str) -> Result<PathBuf> {
        if let Some(program) = self.programs.get(name) {
            return Ok(program.clone());
        }
        eprintln!("{DIM}·{DIM:#} building a wrong answer");
        self.crates.mutant(&self.chapter, mutant, name)?;
        self.crates.write()?;
        self.crates.build(name)?;
        let program = self.crates.program(name);
        self.programs.insert(name.to_owned(), program.clone());
        Ok(program)
    }

    /// Runs the check against `program`, or else against the solution; again while it has no verdict.
    /// `arguments` are further ones for the checks, `folder` is the run's below those of these runs.
    ///
    /// # Errors
    /// When it has no verdict: why, and that `again` is to be typed.
    pub fn run(
        &self,
        (check, arguments): (&str, &[&str]),
        program: Option<&Path>,
        folder: &str,
        again: &str,
    ) -> Result<Seen> {
        eprintln!("{DIM}·{DIM:#} running the check {check}");
        let dir = self.dir.join(folder);
        let arguments = [&["--only", check], arguments].concat();
        let other = program.map(|program| Other {
            program,
            sources: None,
        });
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            let finished = checks::run(&self.paths, &self.checks, &dir, other, &arguments)?;
            let result = finished
                .report
                .checks
                .first()
                .with_context(|| format!("nothing was checked:\n{}", finished.printed))?;
            if result.status != Status::Unknown {
                return Ok(Seen::new(result, dir.join(check).join("journal.jsonl")));
            }
            reason = result.reason.clone().unwrap_or_default();
            // Without a broker nothing is run, and a second attempt changes nothing.
            if result.trace.is_empty() {
                break;
            }
        }
        let again = format!("just doctor; then again: {again}");
        Err(user_error(
            format!("the check {check} has no verdict: {reason}"),
            again,
        ))
    }
}

impl Seen {
    fn new(result: &Line, journal: PathBuf) -> Self {
        let failure = result.failure.iter().flat_map(|detail| {
            [
                ("expected", detail.expected.clone()),
                ("observed", detail.observed.clone()),
                ("why", detail.why.clone()),
            ]
        });
        Self {
            says: result.says.clone(),
            passed: result.status == Status::Pass,
            failure: failure.filter(|(_, text)| !text.is_empty()).collect(),
            journal,
        }
    }
}

/// Ends this program at a signal, which is not the default any more once one was waited for, and when
/// `just` ends. The checks then end, too.
fn end_when_asked() {
    std::thread::spawn(|| {
        let asked = actix_web::rt::System::new().block_on(asked());
        std::process::exit(i32::from(asked.unwrap_or(UNKNOWN)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use course::report::Detail;

    #[test]
    fn a_result_shows_what_its_failure_says() {
        let mut result = Line {
            check: "x".to_owned(),
            says: "it holds".to_owned(),
            hole: 3,
            optional: false,
            status: Status::Fail,
            seconds: 1.0,
            failure: Some(Detail {
                explained: true,
                expected: "a".to_owned(),
                observed: "b".to_owned(),
                why: String::new(),
                hole: 3,
                again: String::new(),
            }),
            reason: None,
            trace: "journal.jsonl".to_owned(),
        };
        let seen = Seen::new(&result, PathBuf::new());
        assert!(!seen.passed);
        assert_eq!(seen.says, "it holds");
        let parts = [("expected", "a".to_owned()), ("observed", "b".to_owned())];
        assert_eq!(seen.failure, parts);
        (result.status, result.failure) = (Status::Pass, None);
        let seen = Seen::new(&result, PathBuf::new());
        assert!(seen.passed && seen.failure.is_empty());
    }
}
