//! A topic exchange: producers say what a message is about, consumers choose by patterns. One
//! program; its first argument is its role.

mod consumer;
mod key;
mod mail_shot;
mod message;
mod place;
mod producer;
mod publish;
mod topics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::role;

#[derive(Parser)]
#[command(about = "A topic exchange: producers name a topic, consumers choose by patterns")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Sends messages to the exchange `logs`, each under a routing key
    Producer(producer::Settings),
    /// Consumes from a queue that gets what its patterns match
    Consumer(consumer::Settings),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Arguments::parse().role {
        Role::Producer(settings) => role::run("producer", producer::run(settings)).await,
        Role::Consumer(settings) => {
            let name = settings.name.to_string();
            role::run(name, consumer::run(settings)).await
        }
    }
}
