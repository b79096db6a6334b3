//! What every measurement works with: the programs, how long to take, and where the figures go.

use std::fs;
use std::process::Command;

use anstream::println;
use anyhow::Result;

use super::chart::Chart;
use super::measured_program::MeasuredProgram;
use super::report::{Report, Stamp};

/// A run of `just bench`.
pub struct Session<'a> {
    pub program: &'a MeasuredProgram,
    pub effort: Effort,
    pub report: &'a mut Report,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Few points, once, for a class.
    Quick,
    Full,
}

impl Effort {
    /// The one or the other.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

impl Session<'_> {
    /// Prints the chart's table, and keeps the chart.
    pub fn keep(&mut self, chart: Chart) -> Result<()> {
        keep(
            self.report,
            &self.program.broker().version,
            self.effort,
            chart,
        )
    }
}

/// As [`Session::keep`], where no session is.
pub fn keep(report: &mut Report, broker: &str, effort: Effort, chart: Chart) -> Result<()> {
    println!("\n{}\n\n{}", chart.title, chart.table());
    println!(
        "{}\n",
        terminal::wrap(&chart.note, terminal::WIDTH).join("\n")
    );
    let stamp = Stamp {
        machine: machine(),
        broker: broker.to_owned(),
        date: output_of("date", &["+%F"]).unwrap_or_default(),
        quick: effort == Effort::Quick,
    };
    report.keep(stamp, chart)
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
