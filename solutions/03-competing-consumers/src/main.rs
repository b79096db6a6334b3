//! One queue and as many workers as it takes. One program; its first argument is its role.

mod job;
mod producer;
mod publish;
mod queue;
mod retry;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::{logging, role};

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
    /// Does jobs from the queue `messages`, which it shares with all other workers
    Worker(worker::Settings),
}

// On one thread an ack costs no trip to another one; a worker has one thing in hand anyway.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    role::exit_code(match Arguments::parse().role {
        Role::Producer(settings) => {
            logging::init("producer");
            producer::run(&settings).await
        }
        Role::Worker(settings) => {
            logging::init(format!("worker {}", settings.name));
            worker::run(settings).await
        }
    })
}
