//! The same node from Docker Compose: `compose/broker.yml`, one project a slot.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::files::{NodeDir, open_private};
use super::launch::{Identity, Ports, clone_hash};

/// An engine that is there answers in a tenth of this.
const ENGINE: Duration = Duration::from_millis(900);

/// Whether Docker has an engine and Compose; the error says in a few words what is missing.
pub(super) async fn engine(file: &Path) -> Result<String, String> {
    if !file.is_file() {
        return Err(format!("{} is missing", file.display()));
    }
    let version = ask(&["version", "--format", "{{.Server.Version}}"]).await?;
    ask(&["compose", "version", "--short"]).await?;
    Ok(version)
}

async fn ask(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("docker");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let out = match timeout(ENGINE, command.output()).await {
        Err(_) => return Err("docker does not answer".into()),
        Ok(Err(_)) => return Err("docker is not installed".into()),
        Ok(Ok(out)) => out,
    };
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    Err(match args {
        ["compose", ..] => "docker has no Compose plugin".into(),
        _ => "docker is installed, but its engine is not running".into(),
    })
}

/// One node's Compose project.
pub(super) struct Project {
    name: String,
    file: PathBuf,
    node: NodeDir,
}

impl Project {
    pub fn of(node: &NodeDir, file: &Path) -> Self {
        Self {
            name: format!("lab-{}-{}", clone_hash(node), node.slot),
            file: file.to_owned(),
            node: node.clone(),
        }
    }

    /// Fetches the image unless it is there: later starts need no network.
    pub async fn pull(&self) -> Result<()> {
        let images = self
            .command(None)
            .args(["config", "--images"])
            .output()
            .await?;
        let images = String::from_utf8_lossy(&images.stdout).into_owned();
        for image in images.lines() {
            let mut inspect = Command::new("docker");
            inspect
                .args(["image", "inspect", image])
                .stdin(Stdio::null());
            if inspect.output().await.is_ok_and(|out| out.status.success()) {
                continue;
            }
            let pulled = self.command(None).arg("pull").output().await?;
            if !pulled.status.success() {
                let words = String::from_utf8_lossy(&pulled.stderr).into_owned();
                let last = words.trim().lines().last().unwrap_or_default().trim();
                bail!("Docker cannot pull {image}: {last}");
            }
        }
        Ok(())
    }

    /// Starts the container and stays attached: the child ends when the container does.
    pub fn up(&self, identity: &Identity, ports: Ports) -> Result<Child> {
        let console = open_private(&self.node.console_log(), true)?;
        self.command(Some((identity, ports)))
            .args(["up", "--no-color", "--abort-on-container-exit"])
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("cannot start docker")
    }

    /// Kills the container as `kill -9` would. Its keeper starts it again.
    pub async fn kill(&self) -> Result<()> {
        let out = self
            .command(None)
            .args(["kill", "--signal", "KILL"])
            .output()
            .await?;
        if !out.status.success() {
            bail!(
                "docker compose kill: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        Ok(())
    }

    /// Removes container, network and volumes. Failure leaves a container behind, which
    /// the log tells; there is nobody to help.
    pub async fn down(&self) {
        let down = self
            .command(None)
            .args(["down", "-v", "--timeout", "2"])
            .output();
        let problem = match down.await {
            Ok(out) if out.status.success() => None,
            Ok(out) => Some(String::from_utf8_lossy(&out.stderr).into_owned()),
            Err(e) => Some(e.to_string()),
        };
        if let Some(problem) = problem {
            // On a full disk even this fails.
            let _ = writeln!(io::stderr(), "docker compose down: {problem}");
        }
    }

    /// `docker compose` for this project. The file insists on its variables even where
    /// they do not matter, as for `down`.
    fn command(&self, settings: Option<(&Identity, Ports)>) -> Command {
        let [name, user, password, amqp, management] = match settings {
            Some((identity, ports)) => [
                identity.cluster_name.clone(),
                identity.user.clone(),
                identity.password.clone(),
                ports.amqp.to_string(),
                ports.management.to_string(),
            ],
            None => ["any", "any", "any", "1", "2"].map(str::to_owned),
        };
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", &self.name, "--file"])
            .arg(&self.file)
            .env("LAB_BROKER_NAME", name)
            .env("LAB_BROKER_USER", user)
            .env("LAB_BROKER_PASSWORD", password)
            .env("LAB_BROKER_PORT", amqp)
            .env("LAB_BROKER_MANAGEMENT_PORT", management)
            .stdin(Stdio::null());
        command
    }
}
