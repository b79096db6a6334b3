//! A broker for a command.

use anstream::eprintln;
use anyhow::Result;
use broker::Broker;
use course::paths::Paths;
use terminal::{DIM, trouble};

/// A broker, with a word on what takes long.
///
/// # Errors
/// When no broker can be found: why, and what to do.
pub async fn acquire(paths: &Paths) -> Result<Broker> {
    Broker::acquire(paths, &|slow| eprintln!("{DIM}·{DIM:#} {slow}"))
        .await
        .map_err(|no| trouble(no.why, no.mend))
}
