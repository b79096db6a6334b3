//! `hosts status`: what is there, and how to get at it.

use anstream::println;
use anyhow::Result;

use super::place::{Host, Place};
use super::{engine, net, tool};
use terminal::{BOLD, DIM, NOTE, TYPE};

/// Prints it.
///
/// # Errors
/// When an engine that answers does not tell of its containers.
pub async fn status(place: &Place) -> Result<()> {
    for host in Host::ALL {
        let (name, address) = (host.name(), host.address());
        print_host(name, address, net::plugged(host).await);
        let engine = match engine::version(place, host).await {
            Ok(version) => {
                let running = engine::docker(place, host, &["ps", "-q"]);
                let running = tool::tool(running).await?.lines().count();
                format!("Docker {version}, containers that run: {running}")
            }
            Err(_) => match engine::installed().await {
                Ok(()) => "does not answer".to_owned(),
                Err(why) => format!("none: {why}"),
            },
        };
        println!("  {DIM}engine{DIM:#}   {engine}");
        if place.socket(host).exists() {
            let docker = place.docker_host(host);
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
