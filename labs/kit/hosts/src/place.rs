//! The two hosts: their names, addresses and files.

use std::path::{Path, PathBuf};

use course::paths::Paths;

use anyhow::Result;
use terminal::user_error;

/// The hosts' interface to each other.
pub const CARD: &str = "lab0";

/// A path of a socket may be this long, and those of containerd get their own names added.
const SOCKET_PATH: usize = 80;

/// One of the two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Producer and broker.
    A,
    /// The consumer.
    B,
}

impl Host {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The name of its network namespace, which is this machine's, not the clone's.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "lab-a",
            Self::B => "lab-b",
        }
    }

    /// Its address on the network between the two.
    pub fn address(self) -> &'static str {
        match self {
            Self::A => "10.0.0.4",
            Self::B => "10.0.0.5",
        }
    }

    /// Where `ip netns` keeps its network.
    pub fn netns(self) -> PathBuf {
        Path::new("/run/netns").join(self.name())
    }

    /// The words before a command that is to run on this host.
    pub fn enter(self) -> [String; 2] {
        let net = format!("--net={}", self.netns().display());
        ["nsenter".to_owned(), net]
    }
}

/// Where a clone keeps its hosts' files.
#[derive(Debug, Clone)]
pub struct Place {
    /// `target/lab/hosts`.
    pub dir: PathBuf,
}

impl Place {
    /// The place of this clone.
    ///
    /// # Errors
    /// When its path is so long that no socket fits into it.
    pub fn of(paths: &Paths) -> Result<Self> {
        let dir = paths.data().join("hosts");
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        if dir.as_os_str().len() > SOCKET_PATH {
            return Err(user_error(
                format!(
                    "the path {} is too long for an engine's socket",
                    dir.display()
                ),
                "export CARGO_TARGET_DIR=<a folder with a shorter path>",
            ));
        }
        Ok(Self { dir })
    }

    /// What belongs to one host.
    pub fn of_host(&self, host: Host) -> PathBuf {
        self.dir.join(match host {
            Host::A => "a",
            Host::B => "b",
        })
    }

    /// The socket of a host's Docker engine.
    pub fn socket(&self, host: Host) -> PathBuf {
        self.of_host(host).join("docker.sock")
    }

    /// How Docker's client is told of a host's engine.
    pub fn docker_host(&self, host: Host) -> String {
        format!("unix://{}", self.socket(host).display())
    }
}
