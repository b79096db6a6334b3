//! The same node from Docker Compose: `compose/broker.yml`, one project a slot.

use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::NoBroker;
use super::launch::{Identity, Ports, clone_hash};
use super::node_dir::{NodeDir, open_private};

/// An engine that is there answers in a tenth of this.
const ENGINE: Duration = Duration::from_millis(1500);
/// Removing takes a second; an engine that hangs shall not take the lab along.
const DOWN: Duration = Duration::from_secs(20);

/// Whether Docker has an engine and Compose, for `file`: the engine's version.
///
/// # Errors
/// In a few words what is missing.
pub async fn engine(file: &Path) -> Result<String, String> {
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
    let words = String::from_utf8_lossy(&out.stderr);
    Err(match args {
        ["compose", ..] => "docker has no Compose plugin".into(),
        _ if words.contains("permission denied") => {
            "docker's engine does not let this user in (group docker?)".into()
        }
        _ => "docker is installed, but its engine is not running".into(),
    })
}

/// One node's Compose project.
pub(super) struct Project {
    name: String,
    node: NodeDir,
}

/// The file of a project and what it asks for.
pub(super) struct Settings<'a> {
    pub file: &'a Path,
    pub identity: &'a Identity,
    pub ports: Ports,
}

impl Project {
    pub fn of(node: &NodeDir) -> Self {
        Self {
            name: format!("lab-{}-{}", clone_hash(node), node.slot),
            node: node.clone(),
        }
    }

    /// Fetches the image unless it is there: later starts need no network.
    pub async fn pull(&self, settings: &Settings<'_>) -> Result<()> {
        let images = self
            .command_with(settings)
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
            let pulled = self.command_with(settings).arg("pull").output().await?;
            if !pulled.status.success() {
                let words = String::from_utf8_lossy(&pulled.stderr).into_owned();
                let _ = writeln!(io::stderr(), "docker compose pull: {words}");
                bail!(NoBroker {
                    why: format!("Docker cannot pull {image}: {}", gist(&words)),
                    mend: format!("docker pull {image}"),
                });
            }
        }
        Ok(())
    }

    /// Starts the container and stays attached: the child ends when the container does.
    pub fn up(&self, settings: &Settings<'_>) -> Result<Child> {
        // First: a keeper may be killed at any moment, and a container outlives it.
        open_private(&self.node.compose_mark(), false).context("cannot leave a mark")?;
        let console = open_private(&self.node.console_log(), true)?;
        self.command_with(settings)
            .args(["up", "--no-color", "--abort-on-container-exit"])
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("cannot start docker")
    }

    /// Kills the container as `kill -9` would. Its keeper starts it again.
    pub async fn kill(&self) -> Result<()> {
        let out = self
            .command()
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

    /// Removes container, network and volumes, if there are any. Failure leaves them to
    /// the next time, which the log tells; there is nobody to help.
    pub async fn down(&self) {
        // At once: all its data is thrown away, so there is nothing to be gentle for.
        let down = self
            .command()
            .args(["down", "-v", "--timeout", "0"])
            .output();
        let text = |e: io::Error| e.to_string();
        let problem = match timeout(DOWN, down).await {
            Ok(Ok(out)) if out.status.success() => self.node.forget_compose().err().map(text),
            Ok(Ok(out)) => Some(String::from_utf8_lossy(&out.stderr).trim().to_owned()),
            Ok(Err(e)) => Some(text(e)),
            Err(_) => Some("no answer".to_owned()),
        };
        if let Some(problem) = problem {
            // On a full disk even this fails.
            let _ = writeln!(io::stderr(), "docker compose down: {problem}");
        }
    }

    /// `docker compose` for this project as it exists: Compose knows it by its name, so
    /// that it can be removed even where the file is gone or has changed.
    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--ansi", "never"])
            .args(["--project-name", &self.name])
            .env_remove("COMPOSE_FILE")
            .current_dir("/")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn command_with(&self, settings: &Settings<'_>) -> Command {
        let Settings {
            file,
            identity,
            ports,
        } = settings;
        let mut command = self.command();
        command
            .arg("--file")
            .arg(file)
            .env("LAB_BROKER_NAME", &identity.cluster_name)
            .env("LAB_BROKER_USER", &identity.user)
            .env("LAB_BROKER_PASSWORD", &identity.password)
            .env("LAB_BROKER_PORT", ports.amqp.to_string())
            .env("LAB_BROKER_MANAGEMENT_PORT", ports.management.to_string())
            // The keeper asks the node itself, and each question of Docker's starts a
            // virtual machine of Erlang's.
            .env("LAB_BROKER_HEALTH_INTERVAL", "60s");
        command
    }
}

/// What matters of an error of Docker's. It quotes errors within errors, each with the
/// addresses it knows; of a network that fails the last says it all.
fn gist(words: &str) -> &str {
    let last = words.trim().lines().last().unwrap_or_default().trim();
    let last = last
        .strip_prefix("Error response from daemon: ")
        .unwrap_or(last);
    match last.rsplit_once(": ") {
        Some((_, end)) if last.contains("dial tcp") => end,
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::gist;

    #[test]
    fn an_error_is_cut_to_what_matters() {
        let no_network = "broker Pulling \n broker Error \nError response from daemon: Get \
            \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on \
            10.0.0.1:53: no such host\n";
        assert_eq!(gist(no_network), "no such host");
        let limit = "Error response from daemon: toomanyrequests: You have reached your limit";
        assert_eq!(gist(limit), "toomanyrequests: You have reached your limit");
    }
}
