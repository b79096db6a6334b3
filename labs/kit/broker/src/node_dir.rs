//! The folder of one node: its files, its locks, and the state that its keeper writes there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use course::paths::Paths;

/// Raise it when a field changes its meaning: then the lab replaces the keeper of another version
/// instead of misreading its state.
const SCHEMA: u32 = 1;

/// What the keeper writes about its node once the node accepts AMQP. It has the password, so only
/// the owner can read the file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct State {
    schema: u32,
    pub slot: usize,
    pub source: Source,
    pub port: u16,
    pub management_port: u16,
    pub user: String,
    pub password: String,
    pub node_name: String,
    pub cluster_name: String,
    pub version: String,
    pub keeper_pid: i32,
    /// The node's own process; `None` in a container.
    pub vm_pid: Option<i32>,
    /// How many times the node has booted under this keeper.
    pub boots: u32,
}

impl State {
    /// An empty state, for the keeper to fill.
    pub fn new(slot: usize, source: Source) -> Self {
        Self {
            schema: SCHEMA,
            slot,
            source,
            port: 0,
            management_port: 0,
            user: String::new(),
            password: String::new(),
            node_name: String::new(),
            cluster_name: String::new(),
            version: String::new(),
            keeper_pid: 0,
            vm_pid: None,
            boots: 0,
        }
    }
}

/// What runs a node that the lab started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    /// An installed `rabbitmq-server`.
    Private,
    /// Docker Compose.
    Compose,
}

/// Whether a keeper runs the node of a folder.
pub(super) enum Keeping {
    /// No keeper runs.
    Free,
    /// A keeper runs, but its node is starting or stopping.
    Busy,
    /// A keeper runs, and its node has been up.
    Up(Box<State>),
}

/// The folder `target/lab/broker/node-<slot>`.
#[derive(Clone, Debug)]
pub(super) struct NodeDir {
    pub dir: PathBuf,
    pub slot: usize,
}

impl NodeDir {
    pub fn new(paths: &Paths, slot: usize) -> Self {
        let dir = root(paths).join(format!("node-{slot}"));
        // The keeper and its node have another working directory. An error means an empty path.
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Self { dir, slot }
    }

    /// The folder at this path, as the keeper gets it.
    pub fn at(dir: PathBuf) -> Option<Self> {
        let slot = slot_of(&dir)?;
        Some(Self { dir, slot })
    }

    /// The folder that is removed when the node stops.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The folder that stays after the node, for debugging.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn keeper_log(&self) -> PathBuf {
        self.log().join("keeper.log")
    }

    pub fn console_log(&self) -> PathBuf {
        self.log().join("console.log")
    }

    /// The keeper holds this lock as long as it runs. The file is never removed: a lock on a removed
    /// file excludes nobody.
    pub fn keeper_lock(&self) -> PathBuf {
        self.dir.join("keeper.lock")
    }

    /// The check that owns the node holds this lock.
    pub fn own_lock(&self) -> PathBuf {
        self.dir.join("own.lock")
    }

    /// This file exists while a Compose project of this node may exist: from before its container is
    /// created until it is removed, even if keepers are killed meanwhile.
    pub fn compose_mark(&self) -> PathBuf {
        self.dir.join("compose")
    }

    pub fn forget_compose(&self) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.compose_mark()))
    }

    fn used(&self) -> PathBuf {
        self.dir.join("used")
    }

    fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// Creates the folders, closed to other users because they hold credentials.
    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.dir.parent().unwrap_or(&self.dir))?;
        for dir in [&self.dir, &self.log()] {
            match fs::DirBuilder::new().mode(0o700).create(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks the node as used now, so that it does not stop for lack of use.
    pub fn touch(&self) -> io::Result<()> {
        open_private(&self.used(), false)?.set_modified(SystemTime::now())
    }

    /// Time since the node was last used; `None` when the mark or the whole folder is gone.
    pub fn unused_for(&self) -> Option<Duration> {
        let at = fs::metadata(self.used()).and_then(|m| m.modified()).ok()?;
        Some(SystemTime::now().duration_since(at).unwrap_or_default())
    }

    /// The state as last written, whether or not its keeper still runs.
    pub fn state(&self) -> Option<State> {
        let text = fs::read(self.state_file()).ok()?;
        let state: State = serde_json::from_slice(&text).ok()?;
        (state.schema == SCHEMA).then_some(state)
    }

    /// Replaces the state in one step, so that no reader sees half of it.
    pub fn write_state(&self, state: &State) -> io::Result<()> {
        let fresh = self.dir.join("state.json.new");
        write_private(&fresh, &serde_json::to_vec_pretty(state)?)?;
        fs::rename(fresh, self.state_file())
    }

    pub fn remove_state(&self) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.state_file()))
    }

    /// Whether a keeper runs this node. The lock decides: another process may have the pid by now.
    pub fn keeping(&self) -> io::Result<Keeping> {
        let state = self.state();
        let file = match File::open(self.keeper_lock()) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Keeping::Free),
            Err(e) => return Err(e),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Keeping::Free),
            Err(TryLockError::WouldBlock) => Ok(match (state, self.keeper()) {
                // The state must be of this keeper, not of a killed one, whose container may still
                // answer until it is removed.
                (Some(state), Some((pid, _))) if pid == state.keeper_pid => {
                    Keeping::Up(Box::new(state))
                }
                _ => Keeping::Busy,
            }),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// The pid and the source that the keeper wrote into its lock file. Valid only while
    /// [`Self::keeping`] is not `Free`.
    pub fn keeper(&self) -> Option<(i32, Source)> {
        let text = fs::read_to_string(self.keeper_lock()).ok()?;
        let (pid, source) = text.trim().split_once(' ')?;
        let source = match source {
            "compose" => Source::Compose,
            _ => Source::Private,
        };
        Some((pid.parse().ok()?, source))
    }

    /// Removes everything except the log and the lock files.
    pub fn clean(&self) -> io::Result<()> {
        self.remove_state()?;
        gone_is_fine(fs::remove_dir_all(self.run()))
    }
}

/// The folder of all nodes of a clone.
pub(super) fn root(paths: &Paths) -> PathBuf {
    paths.data().join("broker")
}

/// The folders of all nodes that this clone has had, by slot.
pub(super) fn all(paths: &Paths) -> Vec<NodeDir> {
    let Ok(entries) = fs::read_dir(root(paths)) else {
        return Vec::new();
    };
    let mut nodes: Vec<NodeDir> = entries
        .filter_map(|entry| NodeDir::at(entry.ok()?.path()))
        .collect();
    nodes.sort_by_key(|node| node.slot);
    nodes
}

fn slot_of(dir: &Path) -> Option<usize> {
    let name = dir.file_name()?.to_str()?;
    name.strip_prefix("node-")?.parse().ok()
}

/// Opens a file of mode 0600, and creates it if missing; `truncate` empties it.
pub(super) fn open_private(path: &Path, truncate: bool) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(truncate)
        .mode(0o600)
        .open(path)
}

/// Opens a file of mode 0600 to append to it: a node and its standby have one.
pub(super) fn append_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// Writes a file of mode 0600.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    open_private(path, true)?.write_all(content)
}

/// A file that does not exist is as good as removed.
pub(super) fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
