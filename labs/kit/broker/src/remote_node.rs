//! An installed RabbitMQ on another host (a network namespace of this machine): on the usual ports,
//! without a keeper.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::launch::{self, Identity, Ports};
use super::node_dir::{NodeDir, write_private};
use super::{NoBroker, install};

/// The default ports of RabbitMQ: no other broker runs on that host.
const PORTS: Ports = Ports {
    interface: Ipv4Addr::UNSPECIFIED,
    amqp: 5672,
    management: 15672,
    distribution: 25672,
};

/// A node on another host. Dropping it kills it.
#[derive(Debug)]
pub struct RemoteNode {
    process: Child,
    node: NodeDir,
}

impl RemoteNode {
    /// Starts a node with all its files in `dir`. `through` is a command that runs its arguments on
    /// the other host: `["nsenter", "--net=…"]`. AMQP listens on port 5672 of all its addresses, the
    /// management API on port 15672 of its loopback. The node imports `definitions`, with its users.
    /// Does not wait until the node is up.
    ///
    /// # Errors
    /// [`NoBroker`] when no RabbitMQ is installed; another error when it cannot be started.
    pub fn start(dir: PathBuf, through: &[String], definitions: &Value) -> Result<Self> {
        let found = install::find().map_err(|why| NoBroker {
            why,
            mend: "just setup".to_owned(),
        })?;
        let node = NodeDir { dir, slot: 0 };
        node.create().context("cannot make the node's folder")?;
        let identity = Identity::fresh(&node);
        launch::write_files(&node, &identity, PORTS)
            .and_then(|()| load_definitions(&node, definitions))
            .context("cannot write its settings")?;
        let (program, words) = through
            .split_first()
            .context("no command that reaches that host")?;
        let mut command = Command::new(program);
        command.args(words).arg(found.script);
        let process = launch::start(&node, command, &identity, PORTS);
        Ok(Self {
            process: process.with_context(|| format!("cannot start {program}"))?,
            node,
        })
    }

    /// How it ended, with the last lines that it printed, if it has ended.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok().flatten()?;
        let words = std::fs::read_to_string(self.node.console_log()).unwrap_or_default();
        let lines: Vec<&str> = words.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        Some(format!("{status}\n{last}"))
    }

    /// The contents of its log.
    pub fn log(&self) -> String {
        let files = std::fs::read_dir(self.node.log())
            .into_iter()
            .flatten()
            .flatten();
        let texts = files.map(|file| std::fs::read(file.path()).unwrap_or_default());
        texts
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }
}

/// Makes the node import these definitions at its start.
fn load_definitions(node: &NodeDir, definitions: &Value) -> std::io::Result<()> {
    let file = node.run().join("definitions.json");
    write_private(&file, definitions.to_string().as_bytes())?;
    let conf = node.run().join("rabbitmq.conf");
    let mut conf = std::fs::OpenOptions::new().append(true).open(conf)?;
    writeln!(conf, "load_definitions = {}", file.display())
}
