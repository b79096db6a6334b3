//! Creates the hosts' network, two namespaces and the cable between them, and injects its faults.

use anyhow::{Context, Result};

use super::host::{Host, INTERFACE};
use super::tool::run_line;

/// Creates both namespaces and plugs in the cable.
///
/// # Errors
/// When the kernel or the tools refuse.
pub(crate) async fn create() -> Result<()> {
    for host in Host::ALL {
        run_line(&format!("ip netns add {}", host.name())).await?;
    }
    let [a, b] = Host::ALL.map(Host::name);
    run_line(&format!(
        "ip link add {INTERFACE} netns {a} type veth peer name {INTERFACE} netns {b}"
    ))
    .await?;
    for host in Host::ALL {
        let (name, address) = (host.name(), host.address());
        run_line(&format!(
            "ip -n {name} addr add {address}/24 dev {INTERFACE}"
        ))
        .await?;
        run_line(&format!("ip -n {name} link set lo up")).await?;
        run_line(&format!("ip -n {name} link set {INTERFACE} up")).await?;
    }
    Ok(())
}

/// Whether the host's namespace exists.
pub(crate) fn exists(host: Host) -> bool {
    host.netns().exists()
}

/// Removes both namespaces; one that does not exist is not an error.
///
/// # Errors
/// When the kernel or the tools refuse.
pub(crate) async fn remove() -> Result<()> {
    for host in Host::ALL {
        let name = host.name();
        if exists(host) {
            // A process that we must not kill, such as the shell that called us, keeps the
            // namespace alive after its name is removed. The cable must go in any case.
            let _ = run_line(&format!("ip -n {name} link del {INTERFACE}")).await;
            run_line(&format!("ip netns del {name}")).await?;
        }
    }
    Ok(())
}

/// Pulls the cable at VM A's end: VM B's interface loses its carrier, and no packet tells
/// either end.
///
/// # Errors
/// When the kernel or the tools refuse.
pub async fn pull_cable() -> Result<()> {
    let a = Host::A.name();
    run_line(&format!("ip -n {a} link set {INTERFACE} down"))
        .await
        .map(drop)
}

/// Plugs the cable in again.
///
/// # Errors
/// When the kernel or the tools refuse.
pub async fn plug_in_cable() -> Result<()> {
    let a = Host::A.name();
    run_line(&format!("ip -n {a} link set {INTERFACE} up"))
        .await
        .map(drop)
}

/// Whether `host`'s end of the cable has a carrier.
///
/// # Errors
/// When the interface does not exist.
pub(crate) async fn is_plugged_in(host: Host) -> Result<bool> {
    let shown = run_line(&format!(
        "ip -n {} -o link show dev {INTERFACE}",
        host.name()
    ))
    .await?;
    Ok(shown.contains("LOWER_UP"))
}

/// Drops what reaches `host` over the cable, without telling either end.
///
/// # Errors
/// When the kernel has no nftables, or `nft` is not installed.
pub async fn drop_incoming(host: Host) -> Result<()> {
    let nft = format!("{} nft", host.enter().join(" "));
    run_line(&format!("{nft} add table ip lab")).await?;
    // Runs before all other hooks, so packets forwarded to a container are dropped, too.
    run_line(&format!(
        "{nft} add chain ip lab in {{ type filter hook prerouting priority -400 ; }}"
    ))
    .await?;
    run_line(&format!(
        "{nft} add rule ip lab in iifname {INTERFACE} drop"
    ))
    .await
    .map(drop)
}

/// Accepts incoming packets again.
///
/// # Errors
/// When none were dropped, or `nft` is not installed.
pub async fn accept_incoming(host: Host) -> Result<()> {
    let enter = host.enter().join(" ");
    run_line(&format!("{enter} nft delete table ip lab"))
        .await
        .map(drop)
        .context("cannot remove the filter")
}
