//! @TITLE@. One program; its first argument is its role.

mod consumer;
mod producer;
mod queue;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::role;

#[derive(Parser)]
#[command(about = "@TITLE@")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Publishes greetings, and ends when each is confirmed
    Producer(producer::Settings),
    /// Records the greetings
    Consumer,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Arguments::parse().role {
        Role::Producer(settings) => role::run("producer", producer::run(settings)).await,
        Role::Consumer => role::run("consumer", consumer::run()).await,
    }
}
