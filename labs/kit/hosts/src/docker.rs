//! Runs a Docker engine on each host, with a containerd of its own, apart from this machine's
//! own engine.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::time::sleep;

use super::host::{Host, HostsDir};
use super::tool::{command, run};

/// How long an engine may take to start. It takes half a second on an idle machine.
const STARTED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
/// The control group that holds the containers of both hosts.
pub(crate) const CGROUP: &str = "lab-hosts";

/// Checks that all programs of an engine are installed.
///
/// # Errors
/// What is missing, in a few words.
pub async fn check_installed() -> Result<(), String> {
    for program in ["dockerd", "containerd", "docker"] {
        if run(command([program, "--version"])).await.is_err() {
            return Err(format!("{program} is not installed"));
        }
    }
    Ok(())
}

/// Starts the engine of `host`, unless it runs, and waits until it answers.
///
/// # Errors
/// When it ends or does not answer: with the last lines of its log.
pub(crate) async fn start(hosts_dir: &HostsDir, host: Host) -> Result<()> {
    if version(hosts_dir, host).await.is_ok() {
        return Ok(());
    }
    let dir = hosts_dir.of_host(host);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    // Without a file of its own, dockerd reads this machine's settings in /etc/docker.
    std::fs::write(dir.join("daemon.json"), "{}\n").context("cannot write the settings")?;
    let containerd = dir.join("containerd");
    let socket = containerd.join("sock");
    std::fs::create_dir_all(&containerd).context("cannot make containerd's folder")?;
    let settings = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
    std::fs::write(containerd.join("toml"), settings).context("cannot write the settings")?;
    let path = |name: &str| dir.join(name).display().to_string();
    let mut daemon = on_host(host, &dir, "containerd");
    daemon
        .args(["--config", &path("containerd/toml")])
        .args(["--root", &path("containerd/root")])
        .args(["--state", &path("containerd/state")])
        .args(["--address", &socket.display().to_string()]);
    let log = path("containerd.log");
    start_daemon(daemon, Path::new(&log), || async { socket.exists() }).await?;
    let mut daemon = on_host(host, &dir, "dockerd");
    daemon
        .args(["--config-file", &path("daemon.json")])
        .args(["--data-root", &path("data")])
        .args(["--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid")])
        .args(["--host", &hosts_dir.docker_host(host)])
        .args(["--containerd", &socket.display().to_string()])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
        .args(["--cgroup-parent", &format!("/{CGROUP}")])
        .args(["--log-level", "warn"]);
    let log = path("dockerd.log");
    start_daemon(daemon, Path::new(&log), || async {
        version(hosts_dir, host).await.is_ok()
    })
    .await
}

/// A daemon on `host`, in a process group of its own so that Ctrl-C does not reach it.
fn on_host(host: Host, dir: &Path, program: &str) -> Command {
    let [nsenter, net] = host.enter();
    let mut daemon = command([&nsenter, &net, program]);
    daemon
        .process_group(0)
        .current_dir(dir)
        .stdin(Stdio::null());
    daemon
}

/// Starts `daemon` and waits until it is up.
async fn start_daemon<F>(mut daemon: Command, log: &Path, is_up: impl Fn() -> F) -> Result<()>
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
    let deadline = Instant::now() + STARTED;
    let end = loop {
        if is_up().await {
            return Ok(());
        }
        match child.try_wait() {
            Ok(Some(status)) => break format!("ended: {status}"),
            _ if Instant::now() > deadline => break format!("not up within {STARTED:?}"),
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
pub(crate) async fn version(hosts_dir: &HostsDir, host: Host) -> Result<String> {
    run(client(
        hosts_dir,
        host,
        &["version", "--format", "{{.Server.Version}}"],
    ))
    .await
}

/// Docker's client, for the engine of `host`.
#[must_use]
pub fn client(hosts_dir: &HostsDir, host: Host, words: &[&str]) -> Command {
    let mut docker = command(["docker"]);
    docker
        .args(words)
        .env("DOCKER_HOST", hosts_dir.docker_host(host))
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_TLS_VERIFY");
    docker
}

/// Removes all containers of a host's engine, so that the engine releases their mounts and
/// networks. Does nothing where no engine answers: the next step kills its processes.
pub(crate) async fn remove_containers(hosts_dir: &HostsDir, host: Host) {
    if !hosts_dir.socket(host).exists() {
        return;
    }
    if let Ok(ids) = run(client(hosts_dir, host, &["ps", "-aq"])).await {
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            let remove = [&["rm", "-fv"], &ids[..]].concat();
            let _ = run(client(hosts_dir, host, &remove)).await;
        }
    }
}
