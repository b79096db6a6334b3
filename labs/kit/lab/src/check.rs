//! `lab NN` and `solution NN`: builds the chapter's checks and becomes them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use course::chapter::Variant;
use course::paths::Paths;

use command::Which;
use command::cargo::{Built, Product, build, does_not_compile};
use process::stop::{Ended, until_stopped};

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
    let built = until_stopped(build(paths, &chapter, variant, Product::Checks))?;
    match built {
        Ended::Stopped(code) => Ok(code),
        Ended::Done(Built::CompileError) => {
            does_not_compile(&chapter, variant, Some(&variant.to_string()));
            Ok(ExitCode::FAILURE)
        }
        Ended::Done(Built::Program(checks)) => {
            // From here on this process *is* the checks: their exit code, their signals.
            let error = Command::new(&checks).args(&args.rest).exec();
            Err(error).with_context(|| format!("cannot start {}", checks.display()))
        }
    }
}
