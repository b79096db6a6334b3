//! FlixTube over direct HTTP. One program; its first argument is the role it plays.

mod history;
mod tell;
mod video_streaming;

use std::process::ExitCode;

use anyhow::anyhow;
use common::role;

#[actix_web::main]
async fn main() -> ExitCode {
    let role = match role::from_args(&["video-streaming", "history"]) {
        Ok(role) => role,
        Err(code) => return code,
    };
    role::exit_code(match role {
        "video-streaming" => video_streaming::run().await,
        "history" => history::run().await,
        other => Err(anyhow!("nobody has written {other} yet")),
    })
}
