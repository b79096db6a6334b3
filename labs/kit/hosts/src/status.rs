//! Prints, for `just hosts status`, what runs on the hosts and how to reach it.

use anstream::println;
use anyhow::Result;

use super::host::{Host, HostsDir};
use super::{docker, network, tool};
use terminal::{BOLD, DIM, NOTE, TYPE};

/// Prints the state of both hosts.
///
/// # Errors
/// When an engine that answers cannot list its containers.
pub async fn print_status(hosts_dir: &HostsDir) -> Result<()> {
    for host in Host::ALL {
        let (name, address) = (host.name(), host.address());
        print_host(name, address, network::is_plugged_in(host).await);
        let engine = match docker::version(hosts_dir, host).await {
            Ok(version) => {
                let running = docker::client(hosts_dir, host, &["ps", "-q"]);
                let running = tool::run(running).await?.lines().count();
                format!("Docker {version}, containers that run: {running}")
            }
            Err(_) => match docker::check_installed().await {
                Ok(()) => "does not answer".to_owned(),
                Err(why) => format!("none: {why}"),
            },
        };
        println!("  {DIM}engine{DIM:#}   {engine}");
        if hosts_dir.socket(host).exists() {
            let docker = hosts_dir.docker_host(host);
            println!("  {DIM}talk{DIM:#}     {TYPE}export DOCKER_HOST={docker}{TYPE:#}");
        }
        let enter = host.enter().join(" ");
        println!("  {DIM}enter{DIM:#}    {TYPE}{enter} bash{TYPE:#}");
    }
    println!("  {DIM}down{DIM:#}     {TYPE}just hosts down{TYPE:#}");
    Ok(())
}

fn print_host(name: &str, address: &str, plugged: Result<bool>) {
    let cable = match plugged {
        Ok(true) => "the cable is plugged in".to_owned(),
        Ok(false) => format!("{NOTE}the cable is pulled{NOTE:#}"),
        Err(_) => format!("{NOTE}it has no network: just hosts up{NOTE:#}"),
    };
    println!("{BOLD}{name}{BOLD:#} · {address} · {cable}");
}
