//! `lab NN`, `solution NN` and `search NN`: builds the chapter's checks, or its search, and becomes
//! that program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
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

#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    #[command(flatten)]
    which: Which,
    /// Search the solution instead of your lab
    #[arg(long)]
    solution: bool,
    /// For the search: --for 60s, --fault FAULT, --pairs, --keep-going, --fresh, --list, --json FILE
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

pub fn search(paths: &Paths, args: &SearchArgs) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    // It may stand behind a flag of the search.
    let (flags, rest): (Vec<_>, Vec<_>) = args
        .rest
        .iter()
        .cloned()
        .partition(|word| word == "--solution");
    let variant = Variant::from_flag(args.solution || !flags.is_empty());
    become_built(
        paths,
        (&chapter, variant),
        (Product::Search, "search"),
        &rest,
    )
}

/// Builds the program, and becomes it; `again` is the command to type after a mistake is corrected.
fn become_built(
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
