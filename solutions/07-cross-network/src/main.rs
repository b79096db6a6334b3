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
use common::{logging, role};
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
    /// Prints what the users of the broker may do, as JSON
    Rights,
}

fn main() -> ExitCode {
    let role = Arguments::parse().role;
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return role::exit_code(Err(error.into())),
    };
    let outcome = runtime.block_on(play(role));
    // Not by dropping it: that would wait for a name that is being looked up in a thread
    // which nobody can interrupt.
    runtime.shutdown_background();
    role::exit_code(outcome)
}

async fn play(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Producer(settings) => {
            logging::init("producer");
            producer::run(settings).await
        }
        Role::Consumer(settings) => {
            logging::init("consumer");
            consumer::run(settings).await
        }
        Role::Rights => rights::print(),
    }
}
