//! FlixTube over queues. One program; its first argument is the role it plays.

mod broker;
mod consumer;
mod history;
mod publisher;
mod queue;
mod session_management;
mod user_management;
mod video_streaming;

use std::process::ExitCode;

use anyhow::anyhow;
use common::role;

const ROLES: [&str; 4] = [
    "video-streaming",
    "history",
    "user-management",
    "session-management",
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
        "user-management" => user_management::run().await,
        "session-management" => session_management::run().await,
        other => Err(anyhow!("nobody has written {other} yet")),
    })
}
