//! SIGTERM and SIGINT (Ctrl-C) as a token that the rest of the program watches.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGTERM or SIGINT cancels, so that the program can finish its work. A
/// second one ends the program at once, with exit code 130: a person who presses Ctrl-C twice
/// does not want to wait.
///
/// # Errors
/// When the system does not let us listen for signals.
pub fn on_signal() -> Result<CancellationToken> {
    let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let token = CancellationToken::new();
    // No code joins this task: it listens for as long as the program runs.
    tokio::spawn(watch(terminate, interrupt, token.clone()));
    Ok(token)
}

async fn watch(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if token.is_cancelled() {
            log::warn!("{name} again: stopping at once");
            std::process::exit(130);
        }
        log::info!("{name}: finishing what is begun");
        token.cancel();
    }
}
