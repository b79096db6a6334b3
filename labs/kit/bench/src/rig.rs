//! What benches of a solution's program share: the program built for release, a vhost of
//! their own, and processes that end with the bench.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker::Broker;
use course::paths::Paths;
use process::{Group, Launch, Process};
use tokio::process::Command;

use super::say;
use command::acquire;

/// The vhost that is measured in.
pub const VHOST: &str = "bench";

/// Nothing that is measured takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A program and a broker, to be measured.
pub struct Rig {
    /// Where files may be put.
    pub dir: PathBuf,
    broker: Broker,
    program: PathBuf,
}

impl Rig {
    /// Builds `program` of `package` for release and makes an empty vhost.
    pub async fn open(paths: &Paths, package: &str, program: &str) -> Result<Self> {
        let dir = paths.data().join("bench-rig");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let program = build(paths, package, program).await?;
        let broker = acquire(paths).await?;
        broker.delete_vhost(VHOST).await?;
        broker.create_vhost(VHOST).await?;
        Ok(Self {
            dir,
            broker,
            program,
        })
    }

    /// Takes the vhost away.
    pub async fn close(self) -> Result<()> {
        self.broker.delete_vhost(VHOST).await
    }

    /// The broker that is measured with.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// How many messages are in a queue, or in a consumer's hand.
    pub async fn left(&self, queue: &str) -> Result<u64> {
        let found = self.broker.queue(VHOST, queue).await?;
        let queue = found.with_context(|| format!("no queue {queue}"))?;
        Ok(queue.ready + queue.unacked)
    }

    /// How many consumers stand at a queue; none when there is no such queue yet.
    pub async fn consumers(&self, queue: &str) -> Result<u64> {
        let found = self.broker.queue(VHOST, queue).await?;
        Ok(found.and_then(|queue| queue.consumers).unwrap_or(0))
    }

    /// Starts the program with these arguments, and this environment beside the usual.
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

async fn build(paths: &Paths, package: &str, program: &str) -> Result<PathBuf> {
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
            program,
        ]);
    let built = Group::spawn(&mut cargo)
        .context("cargo cannot be started")?
        .wait()
        .await?;
    ensure!(built.success(), "cargo cannot build {package}");
    Ok(paths.target.join("release").join(program))
}
