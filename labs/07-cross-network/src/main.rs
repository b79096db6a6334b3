//! Producer and broker on one machine, consumer on another. One program; its first argument
//! is its role.

mod backoff;
mod connect;
mod consumer;
mod failure;
mod message;
mod producer;
mod rights;
mod session;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::role;
use tokio::runtime::Builder;

#[derive(Parser)]
#[command(about = "One queue across a network that fails")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Publishes messages to the exchange `messages`
    Producer(producer::Settings),
    /// Records each message of the queue `messages` once
    Consumer(consumer::Settings),
    /// Prints the rights of the broker's users, as JSON
    Rights,
}

fn main() -> anyhow::Result<ExitCode> {
    let role = Arguments::parse().role;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(run(role));
    // Not dropped: that would wait for a DNS lookup, in a thread that nothing can interrupt.
    runtime.shutdown_background();
    Ok(code)
}

async fn run(role: Role) -> ExitCode {
    match role {
        Role::Producer(settings) => role::run("producer", producer::run(settings)).await,
        Role::Consumer(settings) => role::run("consumer", consumer::run(settings)).await,
        Role::Rights => role::run("rights", async { rights::print() }).await,
    }
}
