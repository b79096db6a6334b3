//! Runs `just hosts up|down|status|check`: two hosts for a person to use, and their checks.

use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use course::paths::Paths;
use hosts::host::HostsDir;
use hosts::{check_possible, down, give_files_back, has_leftovers, print_status, up};
use process::stop::until_stopped;
use terminal::{DIM, TYPE};

use crate::host_checks;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make both hosts, unless they exist
    Up,
    /// Remove them, with all that runs on them
    Down,
    /// Show what runs on them, and how to reach it
    Status,
    /// Check the lecture's programs on two hosts, with faults of a real network
    Check(host_checks::Args),
}

/// Runs `hosts`.
///
/// # Errors
/// When this machine cannot have hosts, or has trouble.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let dir = HostsDir::of(paths)?;
    let action = args.action.as_ref().unwrap_or(&Action::Status);
    if matches!(action, Action::Status) && !has_leftovers(&dir) {
        println!("The hosts are down.");
        println!("  {DIM}up{DIM:#}       {TYPE}just hosts up{TYPE:#}, as root");
        return Ok(ExitCode::SUCCESS);
    }
    check_possible()?;
    if let Action::Check(args) = action {
        return host_checks::run(paths, args);
    }
    until_stopped(async {
        match action {
            Action::Up => up(&dir).await,
            Action::Down => {
                let done = down(&dir).await;
                give_files_back(paths).await;
                done
            }
            _ => print_status(&dir).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
    .map(|ended| ended.code())
}
