//! Publish/subscribe: a service publishes what has happened, and does not know who listens.
//! One program; its first argument is its role.

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
mod subscriber;
mod video_streaming;
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::role;

#[derive(Parser)]
#[command(about = "Publish/subscribe: each service gets its own copy of each event")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Streams the film and publishes that it was watched
    VideoStreaming,
    /// Records the views, and lists them
    History,
    /// Counts the views of each film, and lists the films
    Recommendations,
    /// Takes orders and publishes that something was sold
    Shop,
    /// Books each sale
    Finance,
    /// Collects the money for each sale
    Payment,
}

#[actix_web::main]
async fn main() -> ExitCode {
    match Arguments::parse().role {
        Role::VideoStreaming => role::run("video-streaming", video_streaming::run()).await,
        Role::History => role::run("history", history::run()).await,
        Role::Recommendations => role::run("recommendations", recommendations::run()).await,
        Role::Shop => role::run("shop", shop::run()).await,
        Role::Finance => role::run("finance", finance::run()).await,
        Role::Payment => role::run("payment", payment::run()).await,
    }
}
