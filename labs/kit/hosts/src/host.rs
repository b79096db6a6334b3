//! What the two hosts are called, which addresses they have, and where their files are.

use std::path::{Path, PathBuf};

use anyhow::Result;
use course::paths::Paths;
use terminal::user_error;

/// The name of each host's network interface to the other host.
pub(crate) const INTERFACE: &str = "lab0";

/// The longest path of [`HostsDir`]: the kernel takes 108 bytes for a socket's path, and
/// containerd adds names of its own.
const LONGEST_PATH: usize = 80;

/// One of the two machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// VM A, with producer and broker.
    A,
    /// VM B, with the consumer.
    B,
}

impl Host {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The name of its network namespace. All clones on this machine share it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "lab-a",
            Self::B => "lab-b",
        }
    }

    /// Its address on the network between the two.
    #[must_use]
    pub fn address(self) -> &'static str {
        match self {
            Self::A => "10.0.0.4",
            Self::B => "10.0.0.5",
        }
    }

    /// Where `ip netns` keeps its network namespace.
    pub(crate) fn netns(self) -> PathBuf {
        Path::new("/run/netns").join(self.name())
    }

    /// The words before a command that is to run on this host.
    #[must_use]
    pub fn enter(self) -> [String; 2] {
        let net = format!("--net={}", self.netns().display());
        ["nsenter".to_owned(), net]
    }
}

/// The folder in which a clone keeps its hosts' files.
#[derive(Debug, Clone)]
pub struct HostsDir {
    /// `target/lab/hosts`.
    pub path: PathBuf,
}

impl HostsDir {
    /// The folder of this clone.
    ///
    /// # Errors
    /// When its path is too long for the sockets in it.
    pub fn of(paths: &Paths) -> Result<Self> {
        let path = paths.data().join("hosts");
        let path = std::path::absolute(&path).unwrap_or(path);
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(user_error(
                format!(
                    "the path {} is too long for an engine's socket",
                    path.display()
                ),
                "export CARGO_TARGET_DIR=<a folder with a shorter path>",
            ));
        }
        Ok(Self { path })
    }

    /// The folder of one host.
    #[must_use]
    pub fn of_host(&self, host: Host) -> PathBuf {
        self.path.join(match host {
            Host::A => "a",
            Host::B => "b",
        })
    }

    /// The socket of a host's Docker engine.
    pub(crate) fn socket(&self, host: Host) -> PathBuf {
        self.of_host(host).join("docker.sock")
    }

    /// The `DOCKER_HOST` for a host's engine.
    pub(crate) fn docker_host(&self, host: Host) -> String {
        format!("unix://{}", self.socket(host).display())
    }
}
