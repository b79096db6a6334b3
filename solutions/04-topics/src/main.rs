//! A topic exchange: producers name what a message is about, queues say what they want. One
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
use common::{logging, role};

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
    /// Works off a queue that gets what its patterns match
    Consumer(consumer::Settings),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    role::exit_code(match Arguments::parse().role {
        Role::Producer(settings) => {
            logging::init("producer");
            producer::run(settings).await
        }
        Role::Consumer(settings) => {
            logging::init(settings.name.as_str());
            consumer::run(settings).await
        }
    })
}
