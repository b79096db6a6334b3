//! How images get onto the hosts, which no registry can be reached from: from this machine's
//! own engine, as `docker save | ssh … docker load` does it with two real ones.

use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::engine::docker;
use super::place::{Host, Place};
use super::tool::{PATIENCE, command, tool, tool_within};

/// Whether this machine's own engine has the image.
pub async fn has(image: &str) -> bool {
    tool(own(&["image", "inspect", image])).await.is_ok()
}

/// Fetches the image, unless this machine's own engine has it.
///
/// # Errors
/// When it cannot be fetched: in the engine's words.
pub async fn fetch(image: &str) -> Result<()> {
    if has(image).await {
        return Ok(());
    }
    tool_within(PATIENCE * 15, own(&["pull", "--quiet", image]))
        .await
        .map(drop)
}

/// Brings the image from this machine's own engine to that of `host`.
///
/// # Errors
/// When one of the two engines fails: in its words.
pub async fn bring(place: &Place, host: Host, image: &str) -> Result<()> {
    let mut save = own(&["save", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start docker")?;
    let out = save.stdout.take().context("docker has no stdout")?;
    let out: Stdio = out.try_into().context("docker's stdout")?;
    let load = docker(place, host, &["load", "--quiet"]);
    super::tool::tool_from(out, PATIENCE * 3, load).await?;
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
