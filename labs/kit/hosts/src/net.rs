//! The hosts' network: two namespaces and the cable between them.

use anyhow::{Context, Result};

use super::place::{CARD, Host};
use super::tool::sh;

/// Makes both hosts and plugs in the cable.
///
/// # Errors
/// When the kernel or the tools refuse.
pub async fn build() -> Result<()> {
    for host in Host::ALL {
        sh(&format!("ip netns add {}", host.name())).await?;
    }
    let [a, b] = Host::ALL.map(Host::name);
    sh(&format!(
        "ip link add {CARD} netns {a} type veth peer name {CARD} netns {b}"
    ))
    .await?;
    for host in Host::ALL {
        let (name, address) = (host.name(), host.address());
        sh(&format!("ip -n {name} addr add {address}/24 dev {CARD}")).await?;
        sh(&format!("ip -n {name} link set lo up")).await?;
        sh(&format!("ip -n {name} link set {CARD} up")).await?;
    }
    Ok(())
}

/// Whether the host's namespace is there.
pub fn exists(host: Host) -> bool {
    host.netns().exists()
}

/// Takes both hosts' networks away; none is no error.
///
/// # Errors
/// When the kernel or the tools refuse.
pub async fn remove() -> Result<()> {
    for host in Host::ALL {
        let name = host.name();
        if exists(host) {
            // Processes that we may not kill, such as a shell that called us, keep the
            // namespace alive when its name is gone; the cable shall go in any case.
            let _ = sh(&format!("ip -n {name} link del {CARD}")).await;
            sh(&format!("ip netns del {name}")).await?;
        }
    }
    Ok(())
}

/// Pulls the cable at VM A's end: VM B's card loses its carrier, and nobody is told more.
///
/// # Errors
/// When the kernel or the tools refuse.
pub async fn pull() -> Result<()> {
    let a = Host::A.name();
    sh(&format!("ip -n {a} link set {CARD} down"))
        .await
        .map(drop)
}

/// Plugs it in again.
///
/// # Errors
/// When the kernel or the tools refuse.
pub async fn plug() -> Result<()> {
    let a = Host::A.name();
    sh(&format!("ip -n {a} link set {CARD} up")).await.map(drop)
}

/// Whether bytes can pass, as `host` sees it.
///
/// # Errors
/// When there is no such card.
pub async fn plugged(host: Host) -> Result<bool> {
    let shown = sh(&format!("ip -n {} -o link show dev {CARD}", host.name())).await?;
    Ok(shown.contains("LOWER_UP"))
}

/// Drops at `host` what comes in over the cable, and tells neither end.
///
/// # Errors
/// When the kernel has no nftables, or the tool is not there.
pub async fn swallow_incoming(host: Host) -> Result<()> {
    let nft = format!("{} nft", host.enter().join(" "));
    sh(&format!("{nft} add table ip lab")).await?;
    // Before all else, so that what is forwarded to a container is dropped, too.
    sh(&format!(
        "{nft} add chain ip lab in {{ type filter hook prerouting priority -400 ; }}"
    ))
    .await?;
    sh(&format!("{nft} add rule ip lab in iifname {CARD} drop"))
        .await
        .map(drop)
}

/// Lets everything in again.
///
/// # Errors
/// When nothing was swallowed, or the tool is not there.
pub async fn let_in(host: Host) -> Result<()> {
    let enter = host.enter().join(" ");
    sh(&format!("{enter} nft delete table ip lab"))
        .await
        .map(drop)
        .context("cannot take the filter away")
}
