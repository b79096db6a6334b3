//! The command line of a search.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::fault::Fault;

/// What a search is told.
#[derive(Debug, Clone, Parser)]
#[command(about = "Tries every fault at every message of a chapter's scenario")]
pub struct Arguments {
    /// Stop after this time, as in 60s or 5m; a later search goes on from there.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub budget: Option<Duration>,
    /// Run this fault only, as in 'kill finance before basic.ack 2' (given twice: both in one run).
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,
    /// Run the fault so many times.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "fault")]
    pub times: usize,
    /// Do only the first so many operations.
    #[arg(long, value_name = "N")]
    pub operations: Option<usize>,
    /// Leave this service out (may be given again).
    #[arg(long, value_name = "SERVICE")]
    pub without: Vec<String>,
    /// Then try each two of the faults in one run; that takes hours (--for limits it).
    #[arg(long)]
    pub pairs: bool,
    /// Go on after the first fault that shows something.
    #[arg(long)]
    pub keep_going: bool,
    /// Tell the fault as it was found, and do not look for a smaller one.
    #[arg(long)]
    pub no_shrink: bool,
    /// Forget what an earlier search has tried.
    #[arg(long)]
    pub fresh: bool,
    /// List the faults, and try none.
    #[arg(long)]
    pub list: bool,
    /// Draw the same ids as another search.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write what was found to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Arguments {
    /// What was typed for this package; a slip ends the program.
    #[must_use]
    pub fn typed(package: &str) -> Self {
        let number = package.rsplit('-').next().unwrap_or(package);
        let command = Self::command().bin_name(format!("just search {number}"));
        let parsed = command.try_get_matches();
        let typed = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        typed.unwrap_or_else(|error| error.exit())
    }
}

fn time(typed: &str) -> Result<Duration, &'static str> {
    let (number, unit) = match typed.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (typed.strip_suffix('s').unwrap_or(typed), 1),
    };
    let number: u64 = number.parse().map_err(|_| "write it as in 60s or 5m")?;
    Ok(Duration::from_secs(number * unit))
}
