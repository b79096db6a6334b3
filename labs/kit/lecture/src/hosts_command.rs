//! `hosts up|down|status|check`: the two hosts, for a person to use by hand.

use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use course::paths::Paths;
use hosts::place::Place;
use hosts::{down, give_back, possible, status, sweep, up};
use process::stop::until_stopped;
use terminal::{DIM, TYPE};

use crate::demo::{self, ProgramArgs};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make both hosts, unless they are there
    Up,
    /// Take them away, with all that runs on them
    Down,
    /// Say what is there, and how to get at it
    Status,
    /// Check chapter 07 on two hosts, with faults of a real network
    Check(ProgramArgs),
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let place = Place::of(paths)?;
    let action = args.action.as_ref().unwrap_or(&Action::Status);
    if matches!(action, Action::Status) && !sweep::anything(&place) {
        println!("The hosts are down.");
        println!("  {DIM}up{DIM:#}       {TYPE}just hosts up{TYPE:#}, as root");
        return Ok(ExitCode::SUCCESS);
    }
    possible()?;
    if let Action::Check(programs) = action {
        return demo::check(paths, programs);
    }
    until_stopped(async {
        match action {
            Action::Up => up(&place).await,
            Action::Down => {
                let done = down(&place).await;
                give_back(paths).await;
                done
            }
            _ => status(&place).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
    .map(|ended| ended.code())
}
