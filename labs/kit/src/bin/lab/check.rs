//! `lab NN` and `solution NN`: build the chapter's checks and become them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anstream::eprintln;
use anyhow::{Context, Result};
use kit::chapter::{Chapter, Variant};
use kit::paths::Paths;

use crate::Which;
use crate::build::{Built, Product, build};
use crate::stop::{Ended, until_stopped};
use crate::term::{BAD, TYPE};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// For the checks: --only CHECK, --seed N, --json FILE, --list
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub fn run(paths: &Paths, variant: Variant, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let built = until_stopped(build(paths, &chapter, variant, Product::Checks))?;
    match built {
        Ended::Stopped(code) => Ok(code),
        Ended::Done(Built::CompileError) => {
            does_not_compile(&chapter, variant);
            Ok(ExitCode::FAILURE)
        }
        Ended::Done(Built::Program(checks)) => {
            // From here on this process *is* the checks: their exit code, their signals.
            let error = Command::new(&checks).args(&args.rest).exec();
            Err(error).with_context(|| format!("cannot start {}", checks.display()))
        }
    }
}

/// The last line under rustc's own words.
pub fn does_not_compile(chapter: &Chapter, variant: Variant) {
    let number = &chapter.number;
    eprintln!(
        "{BAD}✘{BAD:#} {variant} {number} does not compile: rustc says above where. Then again: \
         {TYPE}just {variant} {number}{TYPE:#}",
    );
}
