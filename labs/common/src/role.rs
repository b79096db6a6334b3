//! The end of a program that plays one of several roles: an error in its log, and an exit code.

use std::future::Future;
use std::process::ExitCode;

use anyhow::Result;

/// Runs `role` with its log set up under `name`, and returns the program's exit code: 0, or 1
/// with the error and its causes logged on one line.
pub async fn run(name: impl Into<String>, role: impl Future<Output = Result<()>>) -> ExitCode {
    crate::logging::init(name);
    match role.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}", crate::logging::causes(&error));
            ExitCode::FAILURE
        }
    }
}
