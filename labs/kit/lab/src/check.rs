//! `lab NN` and `solution NN`: builds the chapter's checks and becomes them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use command::Which;
use command::cargo::{Built, Product, build, does_not_compile};
use process::stop::{Ended, until_stopped};
use process::{Front, Launch};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// For the checks: --part a, --all, --only CHECK, --seed N, --json FILE, --list
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub fn run(paths: &Paths, variant: Variant, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let again = variant.to_string();
    become_built(
        paths,
        (&chapter, variant),
        (Product::Checks, &again),
        &args.rest,
    )
}

/// Builds the program, and becomes it; `again` is the command to type after a mistake is corrected.
pub fn become_built(
    paths: &Paths,
    (chapter, variant): (&Chapter, Variant),
    (product, again): (Product, &str),
    rest: &[OsString],
) -> Result<ExitCode> {
    match until_stopped(build(paths, chapter, variant, product))? {
        Ended::Stopped(code) => Ok(code),
        Ended::Done(Built::CompileError) => {
            does_not_compile(chapter, variant, Some(again));
            Ok(ExitCode::FAILURE)
        }
        Ended::Done(Built::Program(program)) => {
            // From here on this process *is* that program: its exit code, its signals.
            let error = Command::new(&program).args(rest).exec();
            Err(error).with_context(|| format!("cannot start {}", program.display()))
        }
    }
}

/// Starts a program of checks, or a search, and goes on.
pub fn start(program: PathBuf, rest: &[OsString]) -> Result<Front> {
    let launch = Launch {
        program,
        name: "the checks".to_owned(),
        arguments: rest.to_vec(),
        environment: BTreeMap::new(),
        log: None,
    };
    Front::start(&launch).context("cannot start the checks")
}
