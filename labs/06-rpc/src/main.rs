//! A call over a queue: a request, and an answer that finds its caller. One program; its first
//! argument is its role.

mod answer;
mod caller;
mod line;
mod pending;
mod queue;
mod request;
mod user_client;
mod user_service;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::role;

#[derive(Parser)]
#[command(about = "Request and reply over queues: ask for a user's name by id")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Answers requests from the queue `rpc_queue`
    UserService,
    /// Serves over HTTP what it asks the user service
    UserClient,
}

#[actix_web::main]
async fn main() -> ExitCode {
    match Arguments::parse().role {
        Role::UserService => role::run("user-service", user_service::run()).await,
        Role::UserClient => role::run("user-client", user_client::run()).await,
    }
}
