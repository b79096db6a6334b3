//! Measures how a long backlog is worked off by one worker of chapter 03, and how much memory that takes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::chart::{Axis, Chart, Line, Point, Scale, number};
use super::jobs::{JOBS, send};
use super::measured_program::MeasuredProgram;
use super::session::Session;

/// How often to look.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The longest that the whole may take.
const LONGEST: Duration = Duration::from_secs(600);

/// Sends all jobs, then starts the worker.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    let program = session.program;
    let jobs: u32 = session.effort.pick(50_000, 1_000_000);
    super::say(&format!("a backlog: sending {jobs} jobs"));
    send(program, jobs, "").await?;

    super::say("the backlog: one worker works it off");
    let work = ["worker", "bench", "--prefetch", "128", "--batch", "64"];
    let memory = ("DATABASE", program.fresh_database()?);
    let worker = program.start("solution-03", &work, &[memory]).await?;
    let since = Instant::now();
    let (mut left, mut ours, mut brokers) = (Vec::new(), Vec::new(), Vec::new());
    // Few enough for a table.
    let every = session.effort.pick(1, 8);
    for look in 0.. {
        let (at, depth) = (since.elapsed().as_secs_f64(), program.depth(JOBS).await?);
        if look % every == 0 || depth == 0 {
            left.extend(Point::of(at, &[depth as f64]));
            ours.extend(
                worker
                    .resident()
                    .and_then(|bytes| Point::of(at, &[megabytes(bytes)])),
            );
            brokers.extend(
                memory_of_broker(program).and_then(|bytes| Point::of(at, &[megabytes(bytes)])),
            );
        }
        if depth == 0 {
            break;
        }
        ensure!(
            worker.ended().is_none(),
            "the worker has ended; see {}",
            program.dir.display()
        );
        ensure!(since.elapsed() < LONGEST, "the worker takes too long");
        sleep(LOOK_AGAIN).await;
    }
    let rate = f64::from(jobs) / since.elapsed().as_secs_f64();
    worker.kill().await?;
    let line = |name: &str, points| Line {
        name: name.to_owned(),
        points,
        ideal: false,
    };
    let note = format!(
        "{jobs} jobs, one worker with a prefetch of 128, a commit and an ack for up to 64 jobs: {} a second.",
        number(rate)
    );
    session.keep(Chart {
        name: "backlog-left".to_owned(),
        title: "How soon is a backlog worked off?".to_owned(),
        x: Axis::new("seconds", Scale::Linear),
        y: Axis::new("jobs left", Scale::Linear),
        lines: vec![line("jobs left", left)],
        note: note.clone(),
    })?;
    session.keep(Chart {
        name: "backlog-memory".to_owned(),
        title: "Who keeps the backlog in memory?".to_owned(),
        x: Axis::new("seconds", Scale::Linear),
        y: Axis::new("memory, MB", Scale::Log),
        lines: vec![line("worker", ours), line("broker", brokers)],
        note,
    })
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The resident set of the node, where it is a process of this machine and the system tells.
fn memory_of_broker(program: &MeasuredProgram) -> Option<u64> {
    let [_, node] = program.broker().processes()?;
    let status = fs::read_to_string(format!("/proc/{node}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}
