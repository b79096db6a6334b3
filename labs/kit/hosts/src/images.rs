//! Copies images to the hosts, which cannot reach a registry: from this machine's own engine, as
//! `docker save | ssh … docker load` does with two real machines.

use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::docker::client;
use super::host::{Host, HostsDir};
use super::tool::{TIMEOUT, command, run, run_with_input, run_within};

/// Pulls the image, unless this machine's own engine has it.
///
/// # Errors
/// When it cannot be pulled: the engine's message.
pub async fn pull_if_missing(image: &str) -> Result<()> {
    if run(own(&["image", "inspect", image])).await.is_ok() {
        return Ok(());
    }
    run_within(TIMEOUT * 15, own(&["pull", "--quiet", image]))
        .await
        .map(drop)
}

/// Copies the image from this machine's own engine to that of `host`.
///
/// # Errors
/// When one of the two engines fails: its message.
pub async fn copy_to_host(hosts_dir: &HostsDir, host: Host, image: &str) -> Result<()> {
    let mut save = own(&["save", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start docker")?;
    let out = save.stdout.take().context("docker has no stdout")?;
    let out: Stdio = out.try_into().context("docker's stdout")?;
    let load = client(hosts_dir, host, &["load", "--quiet"]);
    run_with_input(out, TIMEOUT * 3, load).await?;
    let saved = save.wait().await.context("docker went away")?;
    anyhow::ensure!(saved.success(), "`docker save {image}` failed: {saved}");
    Ok(())
}

/// Docker's client, for this machine's own engine.
fn own(words: &[&str]) -> Command {
    let mut docker = command(["docker"]);
    docker.args(words);
    docker
}
