//! A node for one check alone, which may kill, freeze and thaw it.

use std::cell::Cell;
use std::fmt;
use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::compose::Project;
use super::node_dir::{Keeping, NodeDir, State, open_private};
use super::{Broker, NoBroker, acquire};
use course::paths::Paths;

/// The last slot. A node takes 160 MB, so a laptop has no room for more.
const SLOTS: usize = 8;
const POLL: Duration = Duration::from_millis(2);
/// A vhost that exists for a moment: see [`OwnNode::settle`].
const SETTLE: &str = "lab.settle";
/// How long a killed node may take to be gone, or to be up again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node for one check alone. This value keeps its slot locked; the node stays for the next
/// command. `AMQP_URL` does not matter here: the lab must not kill that broker.
pub struct OwnNode {
    broker: Broker,
    node: NodeDir,
    compose: Project,
    /// The number of the boot that was killed last: only a later one counts as up.
    killed: Cell<u32>,
    _lock: File,
}

impl OwnNode {
    /// Takes the first free slot, those with a running node first.
    ///
    /// # Errors
    /// When no node can be started, or all slots are taken.
    pub async fn acquire(paths: &Paths, progress: &dyn Fn(&str)) -> Result<Self, NoBroker> {
        let (node, lock) = free_slot(paths)?;
        // A check that was killed may have left its node frozen.
        signal(&node, Signal::SIGCONT);
        let broker = Broker::of_slot(node.clone(), paths, progress).await?;
        let own = Self {
            broker,
            compose: Project::of(&node),
            node,
            killed: Cell::new(0),
            _lock: lock,
        };
        own.clean_up().await.map_err(|e| NoBroker {
            why: format!(
                "the node in slot {} cannot be cleaned: {e:#}",
                own.node.slot
            ),
            mend: "just broker down".into(),
        })?;
        Ok(own)
    }

    /// The node as a broker: its address and credentials outlive a kill.
    #[must_use]
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Kills the node as `kill -9` does, and waits until its port refuses connections. Its keeper
    /// restarts it at once.
    ///
    /// # Errors
    /// When it is not up, or still answers after 30 s.
    pub async fn kill(&self) -> Result<()> {
        self.settle().await?;
        self.kill_settled().await
    }

    /// What stops the node at once, from any thread (SIGSTOP): for a kill at one moment. Settle it
    /// before. Nothing, for a node in a container.
    pub fn stopper(&self) -> Box<dyn FnOnce() + Send> {
        let pid = self.state().ok().and_then(|state| state.vm_pid);
        Box::new(move || {
            if let Some(pid) = pid {
                // It may have ended; then there is nothing to stop.
                let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
            }
        })
    }

    /// As [`OwnNode::kill`], for a node that is settled, or stopped.
    ///
    /// # Errors
    /// As [`OwnNode::kill`].
    pub async fn kill_settled(&self) -> Result<()> {
        let state = self.state()?;
        self.killed.set(state.boots);
        match state.vm_pid {
            Some(pid) => {
                kill(Pid::from_raw(pid), Signal::SIGKILL).context("cannot kill the node")?
            }
            None => self.compose.kill().await?,
        }
        let gone = async {
            while TcpStream::connect(("127.0.0.1", state.port)).await.is_ok() {
                // The keeper may restart the node before we see its port closed.
                if self.state().is_ok_and(|now| now.boots > state.boots) {
                    break;
                }
                sleep(POLL).await;
            }
        };
        timeout(PATIENCE, gone)
            .await
            .context("the killed node still answers")
    }

    /// Waits until the node accepts AMQP: a later boot, if it was killed.
    ///
    /// # Errors
    /// When its keeper has given up, or after 30 s.
    pub async fn up(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.node.keeping()? {
                Keeping::Up(state) if state.boots > self.killed.get() => {
                    if acquire::is_up(&state).await {
                        return Ok(());
                    }
                }
                Keeping::Up(_) | Keeping::Busy => {}
                Keeping::Free => bail!("the node is gone; see {}", self.log()),
            }
            sleep(POLL).await;
        }
        bail!("the node did not come back within 30 s; see {}", self.log())
    }

    /// Freezes the node (SIGSTOP): it still accepts TCP connections and never answers. Returns
    /// whether it did: a node in a container cannot be frozen.
    pub fn freeze(&self) -> bool {
        signal(&self.node, Signal::SIGSTOP)
    }

    /// Continues a frozen node. Dropping this value does it, too.
    pub fn thaw(&self) -> bool {
        signal(&self.node, Signal::SIGCONT)
    }

    /// Makes the node write its metadata to disk, by declaring something later. Otherwise a durable
    /// queue that was declared milliseconds before the kill is lost, with its confirmed messages:
    /// seen on 4.0.5, in one kill of eight.
    pub async fn settle(&self) -> Result<()> {
        self.broker.api.create_vhost(SETTLE).await?;
        self.broker.api.delete_vhost(SETTLE).await
    }

    fn state(&self) -> Result<State> {
        match self.node.keeping()? {
            Keeping::Up(state) => Ok(*state),
            Keeping::Busy | Keeping::Free => bail!("the node is not up; see {}", self.log()),
        }
    }

    fn log(&self) -> String {
        self.node.keeper_log().display().to_string()
    }

    /// Deletes the vhosts that a killed check has left behind.
    async fn clean_up(&self) -> Result<()> {
        for vhost in self.broker.api.vhosts().await? {
            if vhost != "/" {
                self.broker.delete_vhost(&vhost).await?;
            }
        }
        Ok(())
    }
}

impl Drop for OwnNode {
    fn drop(&mut self) {
        self.thaw();
    }
}

/// Signals the node's process, if its keeper still runs it. Otherwise another process may have its
/// pid by now.
fn signal(node: &NodeDir, signal: Signal) -> bool {
    match node.keeping() {
        Ok(Keeping::Up(state)) => state
            .vm_pid
            .is_some_and(|pid| kill(Pid::from_raw(pid), signal).is_ok()),
        _ => false,
    }
}

fn free_slot(paths: &Paths) -> Result<(NodeDir, File), NoBroker> {
    let mut nodes: Vec<NodeDir> = (1..=SLOTS).map(|slot| NodeDir::new(paths, slot)).collect();
    // A stable sort: running nodes first, then by slot.
    nodes.sort_by_key(|node| !matches!(node.keeping(), Ok(Keeping::Up(_))));
    for node in nodes {
        let unusable = |e| acquire::unusable(&paths.short(&node.dir), &e);
        node.create().map_err(unusable)?;
        let lock = open_private(&node.own_lock(), false).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => return Ok((node, lock)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(unusable(e)),
        }
    }
    Err(NoBroker {
        why: format!("other checks use all {SLOTS} nodes that a check may kill"),
        mend: "wait for the other runs to end, then try again".into(),
    })
}

impl fmt::Debug for OwnNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "own node, {:?}", self.broker)
    }
}
