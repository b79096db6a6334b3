//! The nodes of this clone and the sources of a broker, for the commands that list and stop them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::node_dir::{self, Keeping, NodeDir, Source, open_private};
use super::{Address, Broker, acquire, claim, compose, from_url, install, out_of_support};
use course::paths::Paths;

/// How long a keeper may take to end: it kills a private node at once, but Docker is slow.
const STOP: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(5);

/// Stops every node of this clone, and removes its files except the logs. Returns how many ran.
///
/// # Errors
/// When a keeper does not end or files cannot be removed.
pub async fn down(paths: &Paths) -> Result<usize> {
    let nodes = node_dir::all(paths);
    let mut running = Vec::new();
    for node in &nodes {
        if !matches!(node.keeping()?, Keeping::Free) {
            let keeper = tell_keeper(node, Signal::SIGTERM).await?;
            running.push((node, keeper));
        }
    }
    for (node, keeper) in &running {
        if !ended(node, *keeper).await? {
            // The node ends with its keeper, by its lifeline.
            let keeper = tell_keeper(node, Signal::SIGKILL).await?;
            if !ended(node, keeper).await? {
                bail!("the keeper of {} does not end", node.dir.display());
            }
        }
    }
    for node in &nodes {
        // Another command may just have started a new keeper: its folder stays.
        let lock = open_private(&node.keeper_lock(), false)?;
        if lock.try_lock().is_ok() {
            claim::clean_up(node).await?;
        }
    }
    Ok(running.len())
}

/// Signals the keeper, if one runs, and gives its pid.
async fn tell_keeper(node: &NodeDir, signal: Signal) -> Result<Option<i32>> {
    // A keeper takes the lock an instant before it writes its pid.
    let deadline = Instant::now() + Duration::from_secs(2);
    while !matches!(node.keeping()?, Keeping::Free) {
        if let Some((pid, _)) = node.keeper() {
            kill(Pid::from_raw(pid), signal)
                .with_context(|| format!("cannot signal the keeper of {}", node.dir.display()))?;
            return Ok(Some(pid));
        }
        if Instant::now() > deadline {
            bail!("{} is locked by an unknown process", node.dir.display());
        }
        sleep(POLL).await;
    }
    Ok(None)
}

/// Waits until no keeper runs the node, and this one's process is gone: it frees the lock a moment
/// before it ends.
async fn ended(node: &NodeDir, keeper: Option<i32>) -> Result<bool> {
    let deadline = Instant::now() + STOP;
    while Instant::now() < deadline {
        let free = matches!(node.keeping()?, Keeping::Free);
        if free && !keeper.is_some_and(process::parent::is_alive) {
            return Ok(true);
        }
        sleep(POLL).await;
    }
    Ok(false)
}

/// One node of this clone that runs or is about to.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// 0 is the shared node; the others are for checks that kill their node.
    pub slot: usize,
    /// The node as a broker; none while it boots or does not answer.
    pub broker: Option<Broker>,
    /// The keeper's process.
    pub keeper_pid: Option<i32>,
    /// The node's own process; none in a container.
    pub node_pid: Option<i32>,
    /// Time since a command last used it.
    pub unused_for: Duration,
    /// The folder with its logs.
    pub log: PathBuf,
}

/// The nodes of this clone that have a keeper, by slot.
pub async fn status(paths: &Paths) -> Vec<NodeStatus> {
    let mut nodes = Vec::new();
    for node in node_dir::all(paths) {
        let state = match node.keeping() {
            Ok(Keeping::Up(state)) => Some(state),
            Ok(Keeping::Busy) => None,
            Ok(Keeping::Free) | Err(_) => continue,
        };
        let broker = match &state {
            Some(state) if acquire::is_up(state).await => {
                Some(Broker::of_state(state, node.clone()))
            }
            _ => None,
        };
        nodes.push(NodeStatus {
            slot: node.slot,
            broker,
            keeper_pid: node.keeper().map(|(pid, _)| pid),
            node_pid: state.and_then(|state| state.vm_pid),
            unused_for: node.unused_for().unwrap_or_default(),
            log: node.log(),
        });
    }
    nodes
}

/// One source of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// `AMQP_URL`, `a node started earlier`, `Docker Compose`, `installed RabbitMQ`.
    pub name: &'static str,
    /// Whether it could be used.
    pub available: bool,
    /// What was found, in a few words, without any password.
    pub detail: String,
    /// What [`out_of_support`] says about its version, if the version is known.
    pub support: Option<String>,
    /// Whether the lab would use this one.
    pub chosen: bool,
}

/// The sources of [`Broker::acquire`], in its order. Starts nothing.
pub async fn survey(paths: &Paths) -> Vec<Candidate> {
    let mut found = vec![from_amqp_url().await, earlier(paths).await];
    found.push(match compose::engine(&acquire::compose_file(paths)).await {
        Ok(version) => candidate("Docker Compose", true, format!("Docker engine {version}")),
        Err(why) => candidate("Docker Compose", false, why),
    });
    found.push(match install::find() {
        Ok(install) => {
            let detail = format!("{} {}", install.script.display(), install.version);
            let found = candidate("installed RabbitMQ", true, detail.trim().to_owned());
            found.of_version(&install.version)
        }
        Err(why) => candidate("installed RabbitMQ", false, why),
    });
    // If AMQP_URL is set, the lab uses that broker or fails. It never silently takes another.
    let chosen = if given_url().is_some() {
        found.first_mut().filter(|candidate| candidate.available)
    } else {
        found.iter_mut().find(|candidate| candidate.available)
    };
    if let Some(candidate) = chosen {
        candidate.chosen = true;
    }
    found
}

impl Candidate {
    fn of_version(mut self, version: &str) -> Self {
        self.support = out_of_support(version);
        self
    }
}

fn candidate(name: &'static str, available: bool, detail: String) -> Candidate {
    Candidate {
        name,
        available,
        detail,
        support: None,
        chosen: false,
    }
}

/// `AMQP_URL`, if it is set and not empty.
pub(super) fn given_url() -> Option<String> {
    std::env::var("AMQP_URL").ok().filter(|url| !url.is_empty())
}

async fn from_amqp_url() -> Candidate {
    let name = "AMQP_URL";
    let Some(url) = given_url() else {
        return candidate(name, false, "not set".into());
    };
    match from_url::broker(&url).await {
        Ok(Broker {
            address: Address { host, port, .. },
            version,
            ..
        }) => candidate(name, true, format!("{version} at {host}:{port}")).of_version(&version),
        Err(e) => candidate(name, false, e.why),
    }
}

async fn earlier(paths: &Paths) -> Candidate {
    let name = "a node started earlier";
    let node = NodeDir::new(paths, 0);
    match node.keeping() {
        Ok(Keeping::Up(state)) if acquire::is_up(&state).await => {
            let origin = match state.source {
                Source::Private => "private node",
                Source::Compose => "Docker Compose",
            };
            let (version, port) = (&state.version, state.port);
            let detail = format!("RabbitMQ {version} at 127.0.0.1:{port}, {origin}");
            candidate(name, true, detail).of_version(version)
        }
        Ok(Keeping::Up(_) | Keeping::Busy) => candidate(name, true, "starting".into()),
        Ok(Keeping::Free) => candidate(name, false, "no node runs".into()),
        Err(e) => candidate(name, false, e.to_string()),
    }
}
