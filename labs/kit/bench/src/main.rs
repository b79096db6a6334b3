//! `bench`: what the lab's speed is, measured on this machine, in one run.
//!
//! A program of its own, built when `just bench` is first typed. Nothing uses it.

mod acks;
mod calls;
mod load;
mod relay;
mod rig;
mod student;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anstream::eprintln;
use anyhow::Result;
use clap::Parser;
use course::paths::Paths;

use terminal::DIM;

#[derive(Debug, Parser)]
#[command(bin_name = "just bench", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The loop of edit and check, the first run, and the broker's start
    Loop {
        /// How often each is measured; the first run only once
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// Chapter 03's worker on empty jobs: acks in turn beside one ack for many
    Acks {
        /// How often each is measured
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// Chapter 06's calls: a reply queue beside direct reply-to
    Calls {
        /// How often each is measured
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// What the wiretap costs: one program through it beside straight to the broker
    Relay {
        /// How often each is measured
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// The program that `relay` measures
    #[command(hide = true)]
    Load(load::Args),
}

fn main() -> ExitCode {
    // This program is also its own helpers: the broker's keeper, a service's guard.
    broker::dispatch();
    start(&Cli::parse().what).unwrap_or_else(|error| terminal::tell(&error))
}

fn start(what: &What) -> Result<ExitCode> {
    let paths = &Paths::find()?;
    match what {
        &What::Loop { runs } => student::run(paths, runs),
        &What::Acks { runs } => acks::run(paths, runs),
        &What::Calls { runs } => calls::run(paths, runs),
        &What::Relay { runs } => relay::run(paths, runs),
        What::Load(args) => load::run(args),
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    let middle = times.len() / 2;
    match times.len() {
        0 => Duration::ZERO,
        n if n % 2 == 1 => times[middle],
        _ => (times[middle - 1] + times[middle]) / 2,
    }
}

/// Below which so many percent of the sorted times lie.
fn percentile(times: &[Duration], part: usize) -> Duration {
    let last = times.len().saturating_sub(1);
    times.get(last * part / 100).copied().unwrap_or_default()
}

/// Cores, processor, system and compiler, as far as they tell.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cpu = cpu.or_else(|| word("sysctl", &["-n", "machdep.cpu.brand_string"]));
    let facts = [
        Some(format!("{cores} cores")),
        cpu,
        word("uname", &["-sr"]),
        word("rustc", &["--version"]),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn word(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn say(what: &str) {
    eprintln!("{DIM}·{DIM:#} measuring {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let ms = |times: &[u64]| -> Vec<Duration> {
            times.iter().copied().map(Duration::from_millis).collect()
        };
        assert_eq!(median(&ms(&[9, 1, 5])), Duration::from_millis(5));
        assert_eq!(median(&ms(&[9, 1, 5, 7])), Duration::from_millis(6));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
