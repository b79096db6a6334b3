//! Measures, for `just bench`, how fast the lab is on this machine; each file is one measurement.
//!
//! A program of its own, built when `just bench` is first typed. It may name the chapters whose
//! solutions it measures; no crate uses it. Start reading at [`measured_program`].

mod acks;
mod board_cost;
mod calls;
mod edit_loop;
mod load_program;
mod measured_program;
mod relay_cost;

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
    /// What the wiretap costs: one program through it, and directly at the broker
    Relay {
        /// How often each is measured
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// What the live board costs: one program directly at the broker, through the relay, and with the
    /// board behind that, with and without a page
    Board {
        /// How often each is measured
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
    },
    /// The program that `relay` and `board` measure
    #[command(hide = true)]
    Load(load_program::Args),
}

fn main() -> ExitCode {
    // This program is also its own helper processes, such as a service's guard.
    broker::dispatch();
    start(&Cli::parse().what).unwrap_or_else(|error| terminal::tell(&error))
}

fn start(what: &What) -> Result<ExitCode> {
    let paths = &Paths::find()?;
    match what {
        &What::Loop { runs } => edit_loop::run(paths, runs),
        &What::Acks { runs } => acks::run(paths, runs),
        &What::Calls { runs } => calls::run(paths, runs),
        &What::Relay { runs } => relay_cost::run(paths, runs),
        &What::Board { runs } => board_cost::run(paths, runs),
        What::Load(args) => load_program::run(args),
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

/// The time below which `part` percent of the sorted times lie.
fn percentile(times: &[Duration], part: usize) -> Duration {
    let last = times.len().saturating_sub(1);
    times.get(last * part / 100).copied().unwrap_or_default()
}

/// The machine's cores, processor, system and compiler, as far as they are known.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cpu = cpu.or_else(|| output_of("sysctl", &["-n", "machdep.cpu.brand_string"]));
    let facts = [
        Some(format!("{cores} cores")),
        cpu,
        output_of("uname", &["-sr"]),
        output_of("rustc", &["--version"]),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
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
    fn the_median_is_the_middle_one() {
        let ms = |times: &[u64]| -> Vec<Duration> {
            times.iter().copied().map(Duration::from_millis).collect()
        };
        assert_eq!(median(&ms(&[9, 1, 5])), Duration::from_millis(5));
        assert_eq!(median(&ms(&[9, 1, 5, 7])), Duration::from_millis(6));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
