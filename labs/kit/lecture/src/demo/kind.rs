//! Which stage the story is played on: the nearest to two real machines that can be had.

use anstream::println;
use broker::survey;
use course::paths::Paths;

use hosts::tool::{command, tool};
use hosts::{AS_ROOT, engine, possible};
use terminal::{NOTE, TYPE};

/// The three stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Containers on two hosts.
    Containers,
    /// Programs on two hosts.
    Native,
    /// Programs on this machine.
    Local,
}

impl Kind {
    /// The best that can be had; says what is missing for a better one.
    pub async fn choose(paths: &Paths) -> Self {
        if let Err(why) = possible() {
            say(
                &format!("no hosts: {why}"),
                "relays stand in for them (--local)",
            );
            if cfg!(target_os = "linux") {
                println!("  With hosts: {TYPE}{AS_ROOT} just demo{TYPE:#}");
            }
            return Self::Local;
        }
        let why = match containers().await {
            Ok(()) => return Self::Containers,
            Err(why) => why,
        };
        let rabbit = survey(paths).await;
        let rabbit = rabbit
            .iter()
            .find(|candidate| candidate.name == "installed RabbitMQ");
        if rabbit.is_some_and(|candidate| candidate.available) {
            say(
                &format!("no containers: {why}"),
                "the programs run on the hosts as they are",
            );
            return Self::Native;
        }
        say(
            &format!("no containers: {why}; and no RabbitMQ is installed"),
            "relays stand in for hosts (--local)",
        );
        Self::Local
    }
}

/// Whether this machine has what containers on the hosts take.
///
/// # Errors
/// What is missing, in a few words.
pub async fn containers() -> Result<(), String> {
    engine::installed().await?;
    let compose = ["docker", "compose", "version"];
    if tool(command(compose)).await.is_err() {
        return Err("docker has no Compose plugin".to_owned());
    }
    // The hosts have no way to a registry: their images come from this machine's engine.
    let version = ["docker", "version", "--format", "{{.Server.Version}}"];
    match tool(command(version)).await {
        Ok(_) => Ok(()),
        Err(_) => Err("this machine's own Docker engine does not run".to_owned()),
    }
}

fn say(why: &str, so: &str) {
    println!("{NOTE}·{NOTE:#} {why};");
    println!("  so {so}.");
}
