//! SIGTERM and SIGINT (Ctrl-C) as a token that the rest of the program waits for.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGTERM or SIGINT, so that the work in hand can be
/// finished. A second one ends the program at once, with exit code 130: a person who
/// presses Ctrl-C twice does not want to wait.
///
/// # Errors
/// When the system does not let us listen for signals.
pub fn on_signal() -> Result<CancellationToken> {
    let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let token = CancellationToken::new();
    // Nobody joins this task: it listens for as long as the program runs.
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
        log::info!("{name}: finishing what is in hand");
        token.cancel();
    }
}
