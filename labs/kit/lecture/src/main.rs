//! The lecture: the demonstration with two machines and a cable, the hosts that it is played
//! on, and the passwords for two real machines.
//!
//! A program of its own, built when `just demo`, `just hosts` or `just credentials` is first
//! typed. It may use everything below it; nothing uses it. Start reading at [`demo`].

mod credentials;
mod demo;
mod hosts_command;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use course::paths::Paths;

#[derive(Debug, Parser)]
#[command(bin_name = "just", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the passwords that two real machines need
    Credentials(credentials::Args),
    /// The lecture's demonstration: two machines, a cable, a queue
    Demo(demo::Args),
    /// Two hosts on this machine, joined by a cable
    Hosts(hosts_command::Args),
}

fn main() -> ExitCode {
    // This program is also its own helpers: the broker's keeper, a service's guard.
    broker::dispatch();
    hosts::dispatch();
    start(Cli::parse().command).unwrap_or_else(|error| terminal::tell(&error))
}

fn start(command: Command) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match command {
        Command::Credentials(args) => credentials::run(&paths, &args),
        Command::Demo(args) => demo::run(&paths, &args),
        Command::Hosts(args) => hosts_command::run(&paths, &args),
    }
}
