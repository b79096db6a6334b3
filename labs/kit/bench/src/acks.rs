//! Measures how many empty jobs a second chapter 03's worker settles, with one ack for each job and
//! with one ack for many. It is the solution's own program, built for release.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result, bail, ensure};
use course::paths::Paths;
use process::Exit;

use super::measured_program::{MeasuredProgram, TIME_LIMIT, measured};
use super::{machine, median, say};
use process::stop::Ended;

const QUEUE: &str = "messages";

/// How often the queue is looked at: far shorter than a measurement, and rare enough not to
/// slow the broker down.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One way to settle jobs.
struct Way {
    what: &'static str,
    jobs: u32,
    batch: &'static str,
    on_disk: bool,
}

/// The ways. Each has so many jobs that it takes a second or more.
const WAYS: [Way; 4] = [
    Way {
        what: "row on disk, a commit and an ack for each job in turn",
        jobs: 3_000,
        batch: "1",
        on_disk: true,
    },
    Way {
        what: "row on disk, a commit and an ack for up to 64 jobs",
        jobs: 30_000,
        batch: "64",
        on_disk: true,
    },
    Way {
        what: "row in memory, an ack for each job in turn",
        jobs: 30_000,
        batch: "1",
        on_disk: false,
    },
    Way {
        what: "row in memory, an ack for up to 64 jobs",
        jobs: 60_000,
        batch: "64",
        on_disk: false,
    },
];

/// Measures each way `runs` times, one after the other, and prints the table.
pub fn run(paths: &Paths, runs: u32) -> Result<ExitCode> {
    let work = async |program: &MeasuredProgram| measure_all(program, runs).await;
    match measured(paths, "solution-03", work)? {
        Ended::Done((times, _)) => {
            print(&times, runs);
            Ok(ExitCode::SUCCESS)
        }
        Ended::Stopped(code) => Ok(code),
    }
}

/// How long each way took, each time. The ways take turns, so that other load on the machine
/// slows all of them.
async fn measure_all(program: &MeasuredProgram, runs: u32) -> Result<Vec<Vec<Duration>>> {
    let mut times = vec![Vec::new(); WAYS.len()];
    for run in 1..=runs {
        for (way, times) in WAYS.iter().zip(&mut times) {
            say(&format!("run {run} of {runs}: {}", way.what));
            times.push(measure(program, way).await?);
        }
    }
    Ok(times)
}

async fn measure(program: &MeasuredProgram, way: &Way) -> Result<Duration> {
    let jobs = way.jobs.to_string();
    let send = ["producer", "--burst", "--count", &jobs, "--text", ""];
    let exit = program.start(&send, &[]).await?.end(TIME_LIMIT).await?;
    ensure!(exit == Exit::Code(0), "the producer ended with {exit}");

    let database = match way.on_disk {
        true => remove_database(program)?.display().to_string(),
        false => ":memory:".to_owned(),
    };
    let work = ["worker", "bench", "--prefetch", "128", "--batch", way.batch];
    let worker = program.start(&work, &[("DATABASE", database)]).await?;
    let begun = Instant::now();
    while program.depth(QUEUE).await? > 0 {
        if let Some(exit) = worker.ended() {
            bail!(
                "the worker ended with {exit}; see {}",
                program.dir.display()
            );
        }
        ensure!(begun.elapsed() < TIME_LIMIT, "the worker takes too long");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let time = begun.elapsed();
    worker.kill().await?;
    Ok(time)
}

fn remove_database(program: &MeasuredProgram) -> Result<PathBuf> {
    let path = program.dir.join("jobs.sqlite");
    for end in ["", "-wal", "-shm"] {
        let file = format!("{}{end}", path.display());
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {file}"));
            }
            _ => {}
        }
    }
    Ok(path)
}

fn print(times: &[Vec<Duration>], runs: u32) {
    println!("Medians of {runs}, on {}:\n", machine());
    println!("| one worker, empty jobs, prefetch 128 | jobs a second |");
    println!("|---|---|");
    for (way, times) in WAYS.iter().zip(times) {
        let rate = f64::from(way.jobs) / median(times).as_secs_f64();
        println!("| {} | {:.0} |", way.what, (rate / 10.0).round() * 10.0);
    }
}
