//! Proves the chapters: each solution passes every check, each pristine lab (as committed)
//! fails at its first hole with a verdict, and each mutant fails the check and on the words
//! that it names. One trial each: `cargo test -p kit --test proofs -- 02`.

#[path = "proofs/crates.rs"]
mod crates;
#[path = "proofs/mutant.rs"]
mod mutant;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use kit::chapter::{Chapter, Variant};
use kit::paths::Paths;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

use crates::Crates;
use mutant::Mutant;

/// Each trial runs services and waits far more than it computes.
const AT_ONCE: usize = 3;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("the proofs cannot be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    let paths = Paths::find()?;
    let chapters = Chapter::all(&paths.root)?;
    let mut crates = Crates::new(&paths)?;
    let mut trials = Vec::new();
    let mut members = Vec::new();
    for chapter in &chapters {
        let number = chapter.number.clone();
        let mutants = Mutant::all(chapter)?;
        let solution = format!("{number} solution");
        let pristine = format!("{number} pristine");
        let enough = format!("{number} has six mutants at least");
        let named = |mutant: &Mutant| format!("{number} mutant {}", mutant.file);
        let any = [&solution, &pristine].map(|name| wanted(arguments, name));
        let any = any.contains(&true) || mutants.iter().any(|one| wanted(arguments, &named(one)));
        let checks = Checks::build(&paths, chapter, any)?;

        let of_solution = checks.clone();
        trials.push(trial(solution, move || of_solution.pass()));

        let lab = checks.clone();
        let program = crates.pristine(chapter)?;
        members.push((pristine.clone(), program.clone()));
        trials.push(trial(pristine, move || lab.fail_at_first_hole(&program)));

        let count = mutants.len();
        trials.push(trial(enough, move || {
            ensure!(count >= 6, "it has {count}");
            Ok(())
        }));
        for mutant in mutants {
            let program = crates.mutant(chapter, &mutant)?;
            members.push((named(&mutant), program.clone()));
            let checks = checks.clone();
            let name = named(&mutant);
            trials.push(trial(name, move || checks.catch(&mutant, &program)));
        }
    }
    members.retain(|(name, _)| wanted(arguments, name));
    crates.build(members.iter().map(|(_, program)| &**program))?;
    Ok(trials)
}

/// Whether this trial will be run: only what it needs is built.
fn wanted(arguments: &Arguments, name: &str) -> bool {
    let meant = |word: &String| match arguments.exact {
        true => name == word,
        false => name.contains(word.as_str()),
    };
    !arguments.list
        && arguments.filter.as_ref().is_none_or(meant)
        && !arguments.skip.iter().any(meant)
}

fn trial(name: String, body: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        body().map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Cargo, in the clone's root and target folder; gives what it writes to standard output.
fn cargo(paths: &Paths, arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--quiet")
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .output()
        .context("cargo cannot be started")?;
    // Mutants may well draw warnings; what cargo says matters only when it fails.
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo {} failed:\n{said}",
        arguments.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// A chapter's checks as a program: the solution's own, which other programs are given to.
#[derive(Clone)]
struct Checks {
    paths: Paths,
    program: PathBuf,
    number: String,
}

/// What a run of checks said.
struct Said {
    code: Option<i32>,
    report: Value,
    printed: String,
}

impl Checks {
    /// Builds them if they are needed.
    fn build(paths: &Paths, chapter: &Chapter, needed: bool) -> Result<Self> {
        let mut program = PathBuf::new();
        if needed {
            let package = chapter.package(Variant::Solution);
            let said = cargo(
                paths,
                &[
                    "test",
                    "--no-run",
                    "--message-format=json",
                    "--test",
                    "checks",
                    "-p",
                    &package,
                ],
            )?;
            let path = said.lines().find_map(|line| {
                let message: Value = serde_json::from_str(line).ok()?;
                let ours = message["target"]["name"] == "checks";
                Some(PathBuf::from(
                    message["executable"].as_str().filter(|_| ours)?,
                ))
            });
            program = path.with_context(|| format!("cargo built no checks of {package}"))?;
        }
        Ok(Self {
            paths: paths.clone(),
            program,
            number: chapter.number.clone(),
        })
    }

    /// Runs the checks in a folder of their own, against `program` when one is given.
    fn run(&self, name: &str, program: Option<&Path>, arguments: &[&str]) -> Result<Said> {
        let dir = self
            .paths
            .data()
            .join("proofs")
            .join(format!("{}-{name}", self.number));
        let mut command = Command::new(&self.program);
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
        Ok(Said {
            code: output.status.code(),
            report: serde_json::from_slice(&report)?,
            printed,
        })
    }

    fn pass(&self) -> Result<()> {
        let said = self.run("solution", None, &[])?;
        ensure!(
            said.code == Some(0),
            "the solution does not pass:\n{}",
            said.printed
        );
        let all = said.checks().count();
        ensure!(
            all > 0 && said.report["passed"] == all,
            "not every check passed"
        );
        Ok(())
    }

    fn fail_at_first_hole(&self, program: &Path) -> Result<()> {
        let said = self.run("pristine", Some(program), &[])?;
        let printed = &said.printed;
        ensure!(
            said.report["status"] == "fail",
            "no verdict `fail`:\n{printed}"
        );
        ensure!(
            said.report["next"]["hole"] == 1,
            "it does not lead to HOLE 1:\n{printed}"
        );
        let unknown = said.checks().any(|check| check["status"] == "unknown");
        ensure!(!unknown, "a check has no verdict:\n{printed}");
        Ok(())
    }

    fn catch(&self, mutant: &Mutant, program: &Path) -> Result<()> {
        let said = self.run(&mutant.file, Some(program), &["--only", &mutant.check])?;
        let check = said.checks().next().context("the report has no check")?;
        let printed = &said.printed;
        ensure!(
            check["status"] == "fail",
            "`{}` did not catch it:\n{printed}",
            mutant.check
        );
        let parts = ["expected", "observed", "why"].map(|part| text(check, part));
        let told = parts.join(" ");
        ensure!(
            told.contains(&mutant.text),
            "it was caught, but not on the words `{}`:\n{printed}",
            mutant.text
        );
        Ok(())
    }
}

impl Said {
    fn checks(&self) -> impl Iterator<Item = &Value> {
        self.report["checks"].as_array().into_iter().flatten()
    }
}

fn text<'a>(check: &'a Value, part: &str) -> &'a str {
    check["failure"][part].as_str().unwrap_or_default()
}

/// Where cargo puts a program of the generated crates.
fn program(paths: &Paths, name: &str) -> PathBuf {
    paths.target.join("debug").join(name)
}
