//! A Docker engine for each host, with a containerd of its own: nothing of theirs meets an
//! engine that this machine has already.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::sleep;

use super::place::{Host, Place};
use super::tool::{command, tool};

/// An engine is up in half a second; this is for a busy machine.
const UP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// Where the containers of both hosts are, among the kernel's control groups.
pub const CGROUP: &str = "lab-hosts";

/// Whether an engine can be had here; the error says in a few words what is missing.
pub async fn installed() -> Result<(), String> {
    for program in ["dockerd", "containerd", "docker"] {
        if tool(command([program, "--version"])).await.is_err() {
            return Err(format!("{program} is not installed"));
        }
    }
    Ok(())
}

/// Starts the engine of `host`, unless it runs, and waits until it answers.
///
/// # Errors
/// When it ends or does not answer: with the last words of its log.
pub async fn start(place: &Place, host: Host) -> Result<()> {
    if version(place, host).await.is_ok() {
        return Ok(());
    }
    let dir = place.of_host(host);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Else the machine's own settings in /etc/docker would be read.
    std::fs::write(dir.join("daemon.json"), "{}\n").context("cannot write the settings")?;
    let containerd = dir.join("containerd");
    let socket = containerd.join("sock");
    std::fs::create_dir_all(&containerd).context("cannot make containerd's folder")?;
    let settings = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    std::fs::write(containerd.join("toml"), settings).context("cannot write the settings")?;
    let path = |name: &str| dir.join(name).display().to_string();
    let mut daemon = inside(host, &dir, "containerd");
    daemon
        .args(["--config", &path("containerd/toml")])
        .args(["--root", &path("containerd/root")])
        .args(["--state", &path("containerd/state")])
        .args(["--address", &socket.display().to_string()]);
    let log = path("containerd.log");
    up(daemon, Path::new(&log), || async { socket.exists() }).await?;
    let mut daemon = inside(host, &dir, "dockerd");
    daemon
        .args(["--config-file", &path("daemon.json")])
        .args(["--data-root", &path("data")])
        .args(["--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid")])
        .args(["--host", &place.docker_host(host)])
        .args(["--containerd", &socket.display().to_string()])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args(["--cgroup-parent", &format!("/{CGROUP}")])
        .args(["--log-level", "warn"]);
    let log = path("dockerd.log");
    up(daemon, Path::new(&log), || async {
        version(place, host).await.is_ok()
    })
    .await
}

/// A daemon on `host`, in a process group of its own: a Ctrl-C is not for it.
fn inside(host: Host, dir: &Path, program: &str) -> Command {
    let [nsenter, net] = host.enter();
    let mut daemon = command([&nsenter, &net, program]);
    daemon
        .process_group(0)
        .current_dir(dir)
        .stdin(Stdio::null());
    daemon
}

/// Starts `daemon` and waits until it is up.
async fn up<F>(mut daemon: Command, log: &Path, is_up: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = bool>,
{
    let name = log.file_stem().unwrap_or_default().to_string_lossy();
    let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = daemon
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let deadline = Instant::now() + UP;
    let end = loop {
        if is_up().await {
            return Ok(());
        }
        match child.try_wait() {
            Ok(Some(status)) => break format!("ended: {status}"),
            _ if Instant::now() > deadline => break format!("not up within {UP:?}"),
            _ => sleep(POLL).await,
        }
    };
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    bail!(
        "{name} {end}\n{}",
        lines[lines.len().saturating_sub(3)..].join("\n")
    )
}

/// The version of a host's engine.
///
/// # Errors
/// When none answers.
pub async fn version(place: &Place, host: Host) -> Result<String> {
    tool(docker(
        place,
        host,
        &["version", "--format", "{{.Server.Version}}"],
    ))
    .await
}

/// Docker's client, for the engine of `host`.
pub fn docker(place: &Place, host: Host, words: &[&str]) -> Command {
    let mut docker = command(["docker"]);
    docker
        .args(words)
        .env("DOCKER_HOST", place.docker_host(host))
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_TLS_VERIFY");
    docker
}

/// Removes all containers of a host's engine, so that what they hold is let go in order; an
/// engine that does not answer is left to whoever kills.
pub async fn empty(place: &Place, host: Host) {
    if !place.socket(host).exists() {
        return;
    }
    if let Ok(ids) = tool(docker(place, host, &["ps", "-aq"])).await {
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            let remove = [&["rm", "-fv"], &ids[..]].concat();
            let _ = tool(docker(place, host, &remove)).await;
        }
    }
}
