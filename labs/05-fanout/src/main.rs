//! Publish/subscribe: a service tells what has happened, and does not ask who listens. One
//! program; its first argument is the role it plays.

mod consumer;
mod exchange;
mod finance;
mod history;
mod payment;
mod publisher;
mod queue;
mod recommendations;
mod sale;
mod shop;
mod video_streaming;
mod view;

use std::process::ExitCode;

use anyhow::anyhow;
use common::role;

const ROLES: [&str; 6] = [
    "video-streaming",
    "history",
    "recommendations",
    "shop",
    "finance",
    "payment",
];

#[actix_web::main]
async fn main() -> ExitCode {
    let role = match role::from_args(&ROLES) {
        Ok(role) => role,
        Err(code) => return code,
    };
    role::exit_code(match role {
        "video-streaming" => video_streaming::run().await,
        "history" => history::run().await,
        "recommendations" => recommendations::run().await,
        "shop" => shop::run().await,
        "finance" => finance::run().await,
        "payment" => payment::run().await,
        other => Err(anyhow!("nobody has written {other} yet")),
    })
}
