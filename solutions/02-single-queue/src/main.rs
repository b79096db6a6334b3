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

use clap::{Parser, Subcommand};
use common::role;

#[derive(Parser)]
#[command(about = "FlixTube over queues: a producer, a queue, a consumer, twice")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Streams the film, and publishes that it was watched
    VideoStreaming,
    /// Records each view once, and lists the views
    History,
    /// Takes new users, and publishes that they were saved
    UserManagement,
    /// Records each saved user once, and lists the users
    SessionManagement,
}

#[actix_web::main]
async fn main() -> ExitCode {
    match Arguments::parse().role {
        Role::VideoStreaming => role::run("video-streaming", video_streaming::run()).await,
        Role::History => role::run("history", history::run()).await,
        Role::UserManagement => role::run("user-management", user_management::run()).await,
        Role::SessionManagement => role::run("session-management", session_management::run()).await,
    }
}
