//! Chooses the testbed that is closest to two real machines and that this machine can run.

use anstream::println;
use broker::survey;
use course::paths::Paths;

use hosts::tool::{command, run};
use hosts::{AS_ROOT, check_possible, docker};
use terminal::{NOTE, TYPE};

/// The three kinds of testbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Containers on two hosts.
    Containers,
    /// Programs on two hosts.
    Programs,
    /// Programs on this machine.
    Local,
}

impl Kind {
    /// The best kind that this machine can run. Prints what a better one needs.
    pub async fn choose(paths: &Paths) -> Self {
        if let Err(why) = check_possible() {
            print_choice(
                &format!("no hosts: {why}"),
                "relays stand in for them (--local)",
            );
            if cfg!(target_os = "linux") {
                println!("  With hosts: {TYPE}{AS_ROOT} just demo{TYPE:#}");
            }
            return Self::Local;
        }
        let why = match check_containers().await {
            Ok(()) => return Self::Containers,
            Err(why) => why,
        };
        let rabbit = survey(paths).await;
        let rabbit = rabbit
            .iter()
            .find(|candidate| candidate.name == "installed RabbitMQ");
        if rabbit.is_some_and(|candidate| candidate.available) {
            print_choice(
                &format!("no containers: {why}"),
                "the programs run on the hosts as they are",
            );
            return Self::Programs;
        }
        print_choice(
            &format!("no containers: {why}; and no RabbitMQ is installed"),
            "relays stand in for hosts (--local)",
        );
        Self::Local
    }
}

/// Checks that this machine has what containers on the hosts need.
///
/// # Errors
/// What is missing, in a few words.
async fn check_containers() -> Result<(), String> {
    docker::check_installed().await?;
    let compose = ["docker", "compose", "version"];
    if run(command(compose)).await.is_err() {
        return Err("docker has no Compose plugin".to_owned());
    }
    // The hosts cannot reach a registry: their images come from this machine's engine.
    let version = ["docker", "version", "--format", "{{.Server.Version}}"];
    match run(command(version)).await {
        Ok(_) => Ok(()),
        Err(_) => Err("this machine's own Docker engine does not run".to_owned()),
    }
}

fn print_choice(why: &str, so: &str) {
    println!("{NOTE}·{NOTE:#} {why};");
    println!("  so {so}.");
}
