//! The program behind `just board`, built when that is first typed.

use std::process::ExitCode;

use clap::Parser;
use course::paths::Paths;

#[derive(Debug, Parser)]
#[command(bin_name = "just board", disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    args: board::Args,
}

fn main() -> ExitCode {
    // This program is also the broker's keeper and a service's guard.
    broker::dispatch();
    let show = || board::run(&Paths::find()?, &Cli::parse().args);
    show().unwrap_or_else(|error| terminal::tell(&error))
}
