//! One queue, shared by any number of workers. One program; its first argument is its role.

mod job;
mod producer;
mod queue;
mod retry;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::role;

#[derive(Parser)]
#[command(about = "A work queue: producers send jobs, workers share them")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Sends jobs to the queue `messages`
    Producer(producer::Settings),
    /// Does jobs from the queue `messages`, which all workers share
    Worker(worker::Settings),
}

// One thread: an ack then needs no trip to another one, and a worker does one job at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Arguments::parse().role {
        Role::Producer(settings) => role::run("producer", producer::run(settings)).await,
        Role::Worker(settings) => {
            let name = format!("worker {}", settings.name);
            role::run(name, worker::run(settings)).await
        }
    }
}
