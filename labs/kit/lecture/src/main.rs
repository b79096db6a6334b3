//! The lecture: a demonstration with two machines and a cable, checks on two hosts, and the
//! passwords for two real machines.
//!
//! A program of its own, built when `just demo`, `just hosts` or `just credentials` is first
//! typed. It may use all other crates of the kit except programs; no crate uses it. Which chapter it
//! shows stands in that chapter's manifest (`course::manifest::Lecture`). Start reading at
//! [`demo`].

mod demo;
mod host_checks;
mod hosts_command;
mod prepare;
mod testbed;
mod vm_env;

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
    Credentials(vm_env::Args),
    /// The lecture's demonstration: two machines, a cable, a queue
    Demo(demo::Args),
    /// Two hosts on this machine, joined by a cable
    Hosts(hosts_command::Args),
}

fn main() -> ExitCode {
    // This program is also its own helper processes, such as a service's guard.
    broker::dispatch();
    hosts::dispatch();
    start(Cli::parse().command).unwrap_or_else(|error| terminal::tell(&error))
}

fn start(command: Command) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match command {
        Command::Credentials(args) => vm_env::run(&paths, &args),
        Command::Demo(args) => demo::run(&paths, &args),
        Command::Hosts(args) => hosts_command::run(&paths, &args),
    }
}
