//! `test`: everything that proves the lab right, in one list.

use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result};
use kit::paths::Paths;
use tokio::process::Command;

use crate::stop::{Group, asked};
use crate::term::{BAD, BOLD, DIM, GOOD};
use crate::trouble::trouble;

/// What a step gets to take down what it started, when `test` is stopped.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the steps whose names contain one of these
    steps: Vec<String>,
}

/// One thing to prove.
struct Step {
    name: String,
    /// What holds when it passes.
    says: String,
    program: String,
    args: Vec<String>,
    /// The exit code that it must end with.
    expected: i32,
}

/// All steps, in the order in which a mistake is cheapest to find. Tests of any kind need no
/// line here: cargo finds them.
fn steps() -> Vec<Step> {
    vec![Step::new(
        "workspace",
        "units, trees, texts, commands, broker, chapters",
        "cargo",
        &["test", "--workspace", "--no-fail-fast"],
    )]
}

impl Step {
    fn new(name: &str, says: &str, program: &str, args: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            says: says.to_owned(),
            program: program.to_owned(),
            args: args.iter().map(ToString::to_string).collect(),
            expected: 0,
        }
    }

    fn spawn(&self, paths: &Paths) -> Result<Group> {
        let mut command = Command::new(&self.program);
        command.current_dir(&paths.root).args(&self.args);
        Group::spawn(&mut command).with_context(|| format!("{} cannot be started", self.program))
    }
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let wanted = |step: &Step| {
        args.steps.is_empty()
            || args
                .steps
                .iter()
                .any(|part| step.name.contains(part.as_str()))
    };
    let all = steps();
    let names: Vec<String> = all.iter().map(|step| step.name.clone()).collect();
    let steps: Vec<Step> = all.into_iter().filter(wanted).collect();
    if steps.is_empty() {
        let names = names.join(", ");
        return Err(trouble("no step of that name", format!("one of: {names}")));
    }
    actix_web::rt::System::new().block_on(run_all(paths, &steps))
}

async fn run_all(paths: &Paths, steps: &[Step]) -> Result<ExitCode> {
    let mut stop = pin!(asked());
    let mut results: Vec<(&Step, bool, Duration)> = Vec::new();
    for step in steps {
        println!("{BOLD}── {} · {}{BOLD:#}", step.name, step.says);
        let begun = Instant::now();
        let mut group = step.spawn(paths)?;
        let status = tokio::select! {
            biased;
            code = &mut stop => {
                group.stop(GRACE).await;
                return Ok(ExitCode::from(code?));
            }
            status = group.wait() => status.context("cannot wait for a step")?,
        };
        let passed = status.code() == Some(step.expected);
        results.push((step, passed, begun.elapsed()));
    }
    println!("{BOLD}── all{BOLD:#}");
    for (step, passed, time) in &results {
        let (mark, style) = if *passed { ("✔", GOOD) } else { ("✘", BAD) };
        let seconds = format!("{:.1} s", time.as_secs_f64());
        println!(
            "  {style}{mark}{style:#} {:<52} {DIM}{seconds:>10}{DIM:#}",
            step.says
        );
    }
    let passed = results.iter().filter(|(_, passed, _)| *passed).count();
    let total: Duration = results.iter().map(|(_, _, time)| *time).sum();
    println!(
        "  {passed} of {} pass · {:.0} s",
        results.len(),
        total.as_secs_f64()
    );
    Ok(if passed == results.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
