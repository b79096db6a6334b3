//! Builds a program for release and runs it in a vhost of its own, for the measurements of acks,
//! calls and the relay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker::Broker;
use course::paths::Paths;
use process::stop::{Ended, until_stopped};
use process::{Group, Launch, Process};
use tokio::process::Command;

use super::say;
use command::acquire;

/// The vhost of all measurements.
pub const VHOST: &str = "bench";

/// The time limit of one measurement. Each takes seconds, unless the program hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A program to be measured, and its broker. Its processes end when they are dropped.
pub struct MeasuredProgram {
    /// The folder for logs, databases and journals.
    pub dir: PathBuf,
    broker: Broker,
    program: PathBuf,
}

/// Builds the program of `package` for release, and does `work` with it in an empty vhost. Gives what that
/// gives, and the broker's version.
pub fn measured<T>(
    paths: &Paths,
    package: &str,
    work: impl AsyncFnOnce(&MeasuredProgram) -> Result<T>,
) -> Result<Ended<(T, String)>> {
    until_stopped(async {
        let program = MeasuredProgram::build(paths, package).await?;
        let done = work(&program).await;
        let version = program.broker.version.clone();
        program.broker.delete_vhost(VHOST).await?;
        Ok((done?, version))
    })
}

impl MeasuredProgram {
    async fn build(paths: &Paths, package: &str) -> Result<Self> {
        let dir = paths.data().join("bench-program");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let program = build_release(paths, package).await?;
        let broker = acquire(paths).await?;
        broker.delete_vhost(VHOST).await?;
        broker.create_vhost(VHOST).await?;
        Ok(Self {
            dir,
            broker,
            program,
        })
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

    /// How many consumers a queue has; 0 where the queue does not exist yet.
    pub async fn consumers(&self, queue: &str) -> Result<u64> {
        let found = self.broker.queue(VHOST, queue).await?;
        Ok(found.and_then(|queue| queue.consumers).unwrap_or(0))
    }

    /// Starts the program with these arguments and with `more` in its environment.
    pub async fn start(&self, arguments: &[&str], more: &[(&str, String)]) -> Result<Process> {
        let url = self.broker.address.url(VHOST);
        let mut environment = BTreeMap::from([
            ("AMQP_URL".to_owned(), url),
            ("RUST_LOG".to_owned(), "warn".to_owned()),
        ]);
        for (name, value) in more {
            environment.insert((*name).to_owned(), value.clone());
        }
        let launch = Launch {
            program: self.program.clone(),
            name: arguments[0].to_owned(),
            arguments: arguments.iter().map(Into::into).collect(),
            environment,
            log: Some(self.dir.join(format!("{}.log", arguments[0]))),
        };
        Process::start(&launch, |_| ()).await
    }
}

/// Builds the program of `package`, which has the package's name.
async fn build_release(paths: &Paths, package: &str) -> Result<PathBuf> {
    say(&format!("nothing yet: building {package} for release"));
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .args([
            "build",
            "--quiet",
            "--release",
            "-p",
            package,
            "--bin",
            package,
        ]);
    let built = Group::spawn(&mut cargo)
        .context("cargo cannot be started")?
        .wait()
        .await?;
    ensure!(built.success(), "cargo cannot build {package}");
    Ok(paths.target.join("release").join(package))
}
