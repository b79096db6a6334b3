//! What chapter 03's worker does in a second when there is nothing to do, with acks in turn
//! and with one for many, side by side in one run. It is the solution's own program, built
//! for release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result, bail, ensure};
use kit::broker::Broker;
use kit::guard::Exit;
use kit::paths::Paths;
use kit::service::{Launch, Process};
use kit::wiretap::Journal;
use tokio::process::Command;

use super::{machine, median, say};
use crate::broker::acquire;
use crate::stop::{Ended, Group, until_stopped};

const PACKAGE: &str = "solution-03";
const QUEUE: &str = "messages";
const VHOST: &str = "bench";

/// Nothing that is measured here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the queue is looked at: far shorter than a measurement, and rare enough not to
/// keep the broker busy.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One way to take jobs.
struct Way {
    what: &'static str,
    jobs: u32,
    batch: &'static str,
    on_disk: bool,
}

/// So many jobs that each way takes a second or more.
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
    let work = async {
        let dir = paths.data().join("bench-acks");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let program = build(paths).await?;
        let broker = acquire(paths).await?;
        broker.delete_vhost(VHOST).await?;
        broker.create_vhost(VHOST).await?;
        let bench = Bench {
            url: broker.address.url(VHOST),
            journal: Journal::create(&dir, "03", "bench", 0)?,
            broker,
            program,
            dir,
        };
        let outcome = bench.all(runs).await;
        bench.broker.delete_vhost(VHOST).await?;
        outcome
    };
    match until_stopped(work)? {
        Ended::Done(times) => {
            print(&times, runs);
            Ok(ExitCode::SUCCESS)
        }
        Ended::Stopped(code) => Ok(code),
    }
}

async fn build(paths: &Paths) -> Result<PathBuf> {
    say(&format!("nothing yet: building {PACKAGE} for release"));
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .args(["build", "--quiet", "--release", "-p", PACKAGE]);
    let built = Group::spawn(&mut cargo)
        .context("cargo cannot be started")?
        .wait()
        .await?;
    ensure!(built.success(), "cargo cannot build {PACKAGE}");
    Ok(paths.target.join("release").join(PACKAGE))
}

/// What all measurements share.
struct Bench {
    broker: Broker,
    url: String,
    program: PathBuf,
    dir: PathBuf,
    journal: Journal,
}

impl Bench {
    /// How long each way took, each time. The ways take turns, so that what else the machine
    /// does hits them all.
    async fn all(&self, runs: u32) -> Result<Vec<Vec<Duration>>> {
        let mut times = vec![Vec::new(); WAYS.len()];
        for run in 1..=runs {
            for (way, times) in WAYS.iter().zip(&mut times) {
                say(&format!("run {run} of {runs}: {}", way.what));
                times.push(self.measure(way).await?);
            }
        }
        Ok(times)
    }

    async fn measure(&self, way: &Way) -> Result<Duration> {
        let jobs = way.jobs.to_string();
        let send = ["producer", "--burst", "--count", &jobs, "--text", ""];
        let producer = self.start(&send, Path::new(":memory:")).await?;
        let exit = producer.end(PATIENCE).await?;
        ensure!(exit == Exit::Code(0), "the producer ended with {exit}");

        let database = match way.on_disk {
            true => self.fresh_database()?,
            false => PathBuf::from(":memory:"),
        };
        let work = ["worker", "bench", "--prefetch", "128", "--batch", way.batch];
        let worker = self.start(&work, &database).await?;
        let begun = Instant::now();
        while self.left().await? > 0 {
            if let Some(exit) = worker.ended() {
                bail!("the worker ended with {exit}; see {}", self.dir.display());
            }
            ensure!(begun.elapsed() < PATIENCE, "the worker takes too long");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let time = begun.elapsed();
        worker.kill().await?;
        Ok(time)
    }

    async fn left(&self) -> Result<u64> {
        let queue = self.broker.queue(VHOST, QUEUE).await?;
        let queue = queue.with_context(|| format!("no queue {QUEUE}"))?;
        Ok(queue.ready + queue.unacked)
    }

    async fn start(&self, arguments: &[&str], database: &Path) -> Result<Process> {
        let environment = BTreeMap::from([
            ("AMQP_URL".to_owned(), self.url.clone()),
            ("DATABASE".to_owned(), database.display().to_string()),
            ("RUST_LOG".to_owned(), "warn".to_owned()),
        ]);
        let launch = Launch {
            program: self.program.clone(),
            name: arguments[0].to_owned(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            environment,
            log: self.dir.join(format!("{}.log", arguments[0])),
        };
        Process::start(&launch, &self.journal).await
    }

    fn fresh_database(&self) -> Result<PathBuf> {
        let path = self.dir.join("jobs.sqlite");
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
