//! FlixTube over direct HTTP. One program; its first argument is the role it plays.

mod history;
mod tell;
mod video_streaming;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use env_logger::Env;

#[derive(Parser)]
#[command(about = "FlixTube: a watched film is told to the history by a direct HTTP call")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Streams the film, and tells the history that it was watched
    VideoStreaming,
    /// Records each view once, and lists the views
    History,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let role = Arguments::parse().role;
    // At level info, or as the variable RUST_LOG says.
    env_logger::init_from_env(Env::default().default_filter_or("info"));
    let outcome = match role {
        Role::VideoStreaming => video_streaming::run().await,
        Role::History => history::run().await,
    };
    if let Err(error) = outcome {
        log::error!("{error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
