//! An installed RabbitMQ on another host of this machine: on the usual ports, without a keeper.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

use super::files::NodeDir;
use super::launch::{self, Identity, Ports};
use super::{NoBroker, install};

/// The ports of a RabbitMQ that has a machine to itself.
const PORTS: Ports = Ports {
    interface: Ipv4Addr::UNSPECIFIED,
    amqp: 5672,
    management: 15672,
    distribution: 25672,
};

/// A node that runs elsewhere. Dropped, it is killed.
#[derive(Debug)]
pub struct NodeElsewhere {
    process: Child,
    console: PathBuf,
    /// Who administers it.
    pub user: String,
    /// That user's password.
    pub password: String,
}

impl NodeElsewhere {
    /// Starts a node with all its files in `dir`, by way of a command that runs its
    /// arguments on another host: `["nsenter", "--net=…"]`. AMQP is spoken on all of that
    /// host's addresses at port 5672, the management API on its loopback at 15672. Does not
    /// wait until the node is up.
    ///
    /// # Errors
    /// [`NoBroker`] when none is installed; else when it cannot be started.
    pub fn start(dir: PathBuf, through: &[String]) -> Result<Self> {
        let found = install::find().map_err(|why| NoBroker {
            why,
            mend: "just setup".to_owned(),
        })?;
        let node = NodeDir { dir, slot: 0 };
        node.create().context("cannot make the node's folder")?;
        let identity = Identity::fresh(&node);
        launch::write_files(&node, &identity, PORTS).context("cannot write its settings")?;
        let (program, words) = through.split_first().context("no way to that host")?;
        let mut command = Command::new(program);
        command.args(words).arg(found.script);
        let process = launch::start(&node, command, &identity, PORTS);
        Ok(Self {
            process: process.with_context(|| format!("cannot start {program}"))?,
            console: node.console_log(),
            user: identity.user,
            password: identity.password,
        })
    }

    /// How it ended, with its last words, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok().flatten()?;
        let words = std::fs::read_to_string(&self.console).unwrap_or_default();
        let lines: Vec<&str> = words.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        Some(format!("{status}\n{last}"))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the kernel does not let it be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await.context("cannot kill the node")
    }
}
