//! Builds programs for release and runs them in a vhost of their own, for all measurements but the
//! loop of edit and check.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker::Broker;
use course::paths::Paths;
use process::stop::{Ended, until_stopped};
use process::{Exit, Group, Launch, Process};
use tokio::process::Command;
use tokio::time::sleep;
use wiretap::{Journal, Wiretap};

use super::say;
use command::acquire;

/// The vhost of all measurements.
pub const VHOST: &str = "bench";

/// The queue of the load program.
pub const QUEUE: &str = "load";

/// The time limit of one measurement. Each takes seconds, unless the program hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How soon a queue holds what it should, when its clients have ended; and how often to look.
const SETTLED: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The programs to be measured, and their broker. Their processes end when they are dropped.
pub struct MeasuredProgram {
    /// The folder for logs, databases and journals.
    pub dir: PathBuf,
    broker: Broker,
    /// The folder of the programs, each with its package's name.
    programs: PathBuf,
    /// How many have been started: each has a log of its own.
    started: Cell<u32>,
}

/// Builds these packages for release, and does `work` with them in an empty vhost. Gives what that
/// gives, and the broker's version.
pub fn measured<T>(
    paths: &Paths,
    packages: &[&str],
    work: impl AsyncFnOnce(&MeasuredProgram) -> Result<T>,
) -> Result<Ended<(T, String)>> {
    until_stopped(async {
        let program = MeasuredProgram::build(paths, packages).await?;
        let done = work(&program).await;
        let version = program.broker.version.clone();
        program.broker.delete_vhost(VHOST).await?;
        Ok((done?, version))
    })
}

impl MeasuredProgram {
    async fn build(paths: &Paths, packages: &[&str]) -> Result<Self> {
        let dir = paths.data().join("bench-program");
        // The logs of the command before.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        // First, because a broker that is missing is told at once, and the build takes minutes.
        let broker = acquire(paths).await?;
        build_release(paths, packages).await?;
        let program = Self {
            dir,
            broker,
            programs: paths.target.join("release"),
            started: Cell::new(0),
        };
        program.begin_anew().await?;
        Ok(program)
    }

    /// Empties the vhost: no queue and no message is left from the measurement before.
    pub async fn begin_anew(&self) -> Result<()> {
        self.broker.delete_vhost(VHOST).await?;
        self.broker.create_vhost(VHOST).await
    }

    /// The path of a database that does not exist yet.
    pub fn fresh_database(&self) -> Result<String> {
        let path = self.dir.join("jobs.sqlite").display().to_string();
        for end in ["", "-wal", "-shm"] {
            let file = format!("{path}{end}");
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {file}"));
                }
                _ => {}
            }
        }
        Ok(path)
    }

    /// The broker of the measurements.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// How many messages a queue holds, ready and unacked.
    pub async fn depth(&self, queue: &str) -> Result<u64> {
        let found = self.broker.queue(VHOST, queue).await?;
        let queue = found.with_context(|| format!("no queue {queue}"))?;
        Ok(queue.ready + queue.unacked)
    }

    /// Waits until the queue holds exactly so many messages.
    ///
    /// # Errors
    /// When it soon holds more or fewer: a message was lost or came twice, and the measurement is void.
    pub async fn holds(&self, queue: &str, expected: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let there = self.depth(queue).await?;
            if there == expected {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < SETTLED,
                "void: {there} messages are in `{queue}`, and {expected} should be"
            );
            sleep(LOOK_AGAIN).await;
        }
    }

    /// How many consumers a queue has; 0 where the queue does not exist yet.
    pub async fn consumers(&self, queue: &str) -> Result<u64> {
        let found = self.broker.queue(VHOST, queue).await?;
        Ok(found.and_then(|queue| queue.consumers).unwrap_or(0))
    }

    /// Starts the program of `package` with these arguments and with `more` in its environment.
    pub async fn start(
        &self,
        package: &str,
        arguments: &[&str],
        more: &[(&str, String)],
    ) -> Result<Process> {
        let url = self.broker.address.url(VHOST);
        let mut environment = BTreeMap::from([
            ("AMQP_URL".to_owned(), url),
            ("RUST_LOG".to_owned(), "warn".to_owned()),
        ]);
        for (name, value) in more {
            environment.insert((*name).to_owned(), value.clone());
        }
        let launch = Launch {
            program: self.programs.join(package),
            name: arguments[0].to_owned(),
            arguments: arguments.iter().map(Into::into).collect(),
            environment,
            log: Some(self.log(arguments[0])),
        };
        Process::start(&launch, |_| ()).await
    }

    /// A wiretap in front of the broker, with an empty journal, as each check has; and the URL through it.
    pub async fn tap(&self) -> Result<(Wiretap, Journal, String)> {
        let journal = Journal::create(&self.dir, "bench", "tap", 0)?;
        let address = &self.broker.address;
        let tap = Wiretap::open("bench", &address.host, address.port, &journal)?;
        let url = address.at("127.0.0.1", tap.port()).url(VHOST);
        Ok((tap, journal, url))
    }

    /// The path of the next program's log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.started.update(|number| number + 1);
        self.dir
            .join(format!("{:03}-{name}.log", self.started.get()))
    }

    /// Runs the load program to its end, at the broker or at `url`, and gives the figures that it prints.
    pub async fn load<const K: usize>(
        &self,
        arguments: &str,
        url: Option<String>,
    ) -> Result<[f64; K]> {
        let load = self.start_load(arguments, url).await?;
        printed(&load)
            .await
            .with_context(|| format!("load {arguments}"))
    }

    /// Runs so many load programs at once, and gives the sums of their figures: messages a second, and messages.
    pub async fn load_together(&self, arguments: &str, programs: usize) -> Result<(f64, u64)> {
        let mut started = Vec::new();
        for _ in 0..programs {
            started.push(self.start_load(arguments, None).await?);
        }
        let (mut rates, mut all) = (0.0, 0);
        for load in &started {
            let [rate, count] = printed(load).await?;
            (rates, all) = (rates + rate, all + count as u64);
        }
        Ok((rates, all))
    }

    /// Starts the load program.
    async fn start_load(&self, arguments: &str, url: Option<String>) -> Result<Process> {
        let words: Vec<&str> = arguments.split(' ').collect();
        let at: Vec<_> = url.map(|url| ("AMQP_URL", url)).into_iter().collect();
        self.start("load", &words, &at).await
    }
}

/// Waits for the program's end, and gives the figures in the last line that it has printed.
pub async fn printed<const K: usize>(program: &Process) -> Result<[f64; K]> {
    let exit = program.end(TIME_LIMIT).await?;
    let told = program.output();
    ensure!(exit == Exit::Code(0), "it ended with {exit}: {told}");
    let line = told.lines().last().unwrap_or_default();
    let figures: Option<Vec<f64>> = line.split(' ').map(|figure| figure.parse().ok()).collect();
    let figures = figures.and_then(|figures| figures.try_into().ok());
    figures.with_context(|| format!("it printed {line:?}"))
}

/// Builds the programs of these packages; each has its package's name.
async fn build_release(paths: &Paths, packages: &[&str]) -> Result<()> {
    let names = packages.join(", ");
    say(&format!("nothing yet: building {names} for release"));
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .args(["build", "--quiet", "--release"]);
    for package in packages {
        cargo.args(["--package", package, "--bin", package]);
    }
    let built = Group::spawn(&mut cargo)
        .context("cargo cannot be started")?
        .wait()
        .await?;
    ensure!(built.success(), "cargo cannot build {names}");
    Ok(())
}
