//! How much processor time is used, and by whom.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// What was used so far, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// By the programs that this one has started and that have ended.
    programs: f64,
    /// How often those waited: another thread or program had the core meanwhile.
    waits: f64,
    /// By everything on the machine.
    machine: f64,
}

impl Used {
    /// Looks now.
    pub fn now() -> Result<Self> {
        let used = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for what was used")?;
        let micros = |time: TimeVal| time.num_microseconds() as f64;
        Ok(Self {
            programs: micros(used.user_time()) + micros(used.system_time()),
            waits: used.voluntary_context_switches() as f64,
            machine: machine()?,
        })
    }

    /// What was used since then for each of `count` messages: by the programs, how often they waited, and by
    /// the rest of the machine, which is the broker where nothing else runs.
    pub fn since(before: &Self, count: u32) -> Result<[f64; 3]> {
        let now = Self::now()?;
        let programs = now.programs - before.programs;
        let rest = now.machine - before.machine - programs;
        let waits = now.waits - before.waits;
        Ok([programs, waits, rest.max(0.0)].map(|used| used / f64::from(count)))
    }
}

/// The time that all cores were busy, in microseconds: the first line of `/proc/stat` counts ticks of 10 ms.
/// 0 where there is no such file.
fn machine() -> Result<f64> {
    let Ok(text) = fs::read_to_string("/proc/stat") else {
        return Ok(0.0);
    };
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // user, nice, system; then idle and waiting for the disk; then interrupts.
    let busy = ticks.iter().take(3).chain(ticks.iter().skip(5).take(2));
    Ok(busy.sum::<f64>() * 10_000.0)
}
