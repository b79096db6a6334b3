//! A node in Docker Compose: `compose/broker.yml`, one project a slot.

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

/// How long to wait for an engine: ten times as long as it takes.
const ENGINE: Duration = Duration::from_millis(1500);
/// Removing takes a second. An engine that hangs must not hang the lab.
const DOWN: Duration = Duration::from_secs(20);

/// The version of Docker's engine, if there are an engine, Compose, and `file`.
///
/// # Errors
/// What is missing, in a few words.
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
            "docker's engine refuses this user (is it in group docker?)".into()
        }
        _ => "docker is installed, but its engine is not running".into(),
    })
}

/// One node's Compose project.
pub(super) struct Project {
    name: String,
    node: NodeDir,
}

/// The file of a project, and the settings that it needs.
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

    /// Pulls the image unless it is there, so that later starts need no network.
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

    /// Starts the container. The child stays attached, and ends when the container does.
    pub fn up(&self, settings: &Settings<'_>) -> Result<Child> {
        // First: a keeper may be killed at any moment, and its container stays.
        open_private(&self.node.compose_mark(), false)
            .context("cannot write the mark of a Compose project")?;
        let console = open_private(&self.node.console_log(), true)?;
        self.command_with(settings)
            .args(["up", "--no-color", "--abort-on-container-exit"])
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("cannot start docker")
    }

    /// Kills the container as `kill -9` does. Its keeper restarts it.
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

    /// Removes container, network and volumes, if they exist. If it fails, the log says so, and the
    /// next start tries again.
    pub async fn down(&self) {
        // At once: all its data will be deleted, so a kill is good enough.
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
            // Even this fails on a full disk.
            let _ = writeln!(io::stderr(), "docker compose down: {problem}");
        }
    }

    /// `docker compose` for this project by its name alone: it can be removed even if the file is gone
    /// or has changed.
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
            // Rare, because each check starts an Erlang virtual machine, and the keeper asks the
            // node itself.
            .env("LAB_BROKER_HEALTH_INTERVAL", "60s");
        command
    }
}

/// The part of a Docker error that matters. Docker nests errors; when the network fails, the
/// innermost one is enough.
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
