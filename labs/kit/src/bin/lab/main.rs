//! The `lab` command: what stands behind every recipe of the justfile.

mod bench;
mod broker;
mod build;
mod cast;
mod check;
mod credentials;
mod demo;
mod diff;
mod doctor;
mod handout;
mod hint;
mod hosts;
mod joined;
mod probe;
mod reset;
mod run;
mod saves;
#[cfg(test)]
#[path = "../../scratch.rs"]
mod scratch;
mod setup;
mod solo;
mod stage;
mod stop;
mod term;
mod trouble;
mod up;
mod watch;

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
    /// Check your lab again at each save
    Watch(watch::Args),
    /// Put your lab's files back as handed out
    Reset(reset::Args),
    /// Start the chapter's services, or one program of it, to play with
    Run(run::Args),
    /// Start the chapter's services in containers, or one program of it beside them
    Up(up::Args),
    /// Take the chapter's containers away
    Down(up::DownArgs),
    /// Show what the chapter's containers print
    Logs(up::LogsArgs),
    /// Build an image and push it to a registry
    Push(up::PushArgs),
    /// Start or stop the lab's broker, or say what runs
    Broker(broker::Args),
    /// Make the passwords that two real machines need
    Credentials(handout::Args),
    /// The lecture's demonstration: two machines, a cable, a queue
    Demo(demo::Args),
    /// Two hosts on this machine, joined by a cable
    Hosts(hosts::Args),
    /// Say what is installed, which broker would be used, what to do
    Doctor,
    /// Get a broker, fetch and build everything
    Setup,
    /// Measure how long a student waits
    Bench(bench::Args),
}

fn main() -> ExitCode {
    // This program is also its own helpers: the broker's keeper, a service's guard.
    kit::internal::dispatch();
    hosts::dispatch();
    let cli = Cli::parse();
    start(cli.command).unwrap_or_else(|error| trouble::tell(&error))
}

fn start(command: Command) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match command {
        Command::Lab(args) => check::run(&paths, Variant::Lab, &args),
        Command::Solution(args) => check::run(&paths, Variant::Solution, &args),
        Command::Hint(args) => hint::run(&paths, &args),
        Command::Diff(args) => diff::run(&paths, &args),
        Command::Watch(args) => watch::run(&paths, &args),
        Command::Reset(args) => reset::run(&paths, &args),
        Command::Run(args) => run::run(&paths, &args),
        Command::Up(args) => up::run(&paths, &args),
        Command::Down(args) => up::down(&paths, &args),
        Command::Logs(args) => up::logs(&paths, &args),
        Command::Push(args) => up::push(&paths, &args),
        Command::Broker(args) => broker::run(&paths, &args),
        Command::Credentials(args) => handout::run(&paths, &args),
        Command::Demo(args) => demo::run(&paths, &args),
        Command::Hosts(args) => hosts::run(&paths, &args),
        Command::Doctor => doctor::run(&paths),
        Command::Setup => setup::run(&paths),
        Command::Bench(args) => bench::run(&paths, &args),
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
