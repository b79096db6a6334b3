//! The `lab` command: what stands behind every recipe of the justfile.

mod build;
mod check;
mod diff;
mod hint;
mod stop;
mod term;
mod trouble;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use kit::chapter::{Chapter, Variant};
use kit::paths::Paths;

/// The lab's commands. `just` lists them with a line of help each.
#[derive(Debug, Parser)]
#[command(bin_name = "just", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check your lab
    Lab(check::Args),
    /// Check the solution, with the same checks
    Solution(check::Args),
    /// Print the next hint for a hole
    Hint(hint::Args),
    /// Show your lab beside the solution
    Diff(diff::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli.command).unwrap_or_else(|error| trouble::tell(&error))
}

fn run(command: Command) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match command {
        Command::Lab(args) => check::run(&paths, Variant::Lab, &args),
        Command::Solution(args) => check::run(&paths, Variant::Solution, &args),
        Command::Hint(args) => hint::run(&paths, &args),
        Command::Diff(args) => diff::run(&paths, &args),
    }
}

/// The chapter that a command is about, as a person names it.
#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// The chapter: 5, 05 or 05-fanout
    #[arg(value_name = "NN")]
    chapter: String,
}

impl Which {
    fn resolve(&self, paths: &Paths) -> Result<Chapter> {
        Ok(Chapter::resolve(&paths.root, &self.chapter)?)
    }
}
