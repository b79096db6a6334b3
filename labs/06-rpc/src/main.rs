//! A call over a queue: a request, and an answer that finds back to its caller. One program;
//! its first argument is the role it plays.

mod answer;
mod caller;
mod line;
mod pending;
mod queue;
mod request;
mod user_client;
mod user_service;

use std::process::ExitCode;

use anyhow::anyhow;
use common::role;

const ROLES: [&str; 2] = ["user-service", "user-client"];

#[actix_web::main]
async fn main() -> ExitCode {
    let role = match role::from_args(&ROLES) {
        Ok(role) => role,
        Err(code) => return code,
    };
    role::exit_code(match role {
        "user-service" => user_service::run().await,
        "user-client" => user_client::run().await,
        other => Err(anyhow!("nobody has written {other} yet")),
    })
}
