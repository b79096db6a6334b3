//! Gets a broker for a command, and says who may log in there.

use anstream::eprintln;
use anyhow::Result;
use broker::{Broker, Origin};
use course::paths::Paths;
use terminal::{DIM, trouble};

/// A broker; what takes long is printed.
///
/// # Errors
/// When no broker can be found: why, and what to do.
pub async fn acquire(paths: &Paths) -> Result<Broker> {
    Broker::acquire(paths, &|slow| eprintln!("{DIM}·{DIM:#} {slow}"))
        .await
        .map_err(|no| trouble(no.why, no.mend))
}

/// Who may log in, and where the password is: never the password itself, which would stay in
/// scroll-back and screen shares.
#[must_use]
pub fn describe_login(paths: &Paths, broker: &Broker) -> String {
    let user = &broker.address.user;
    match broker.origin {
        Origin::Given => format!("user {user}, password as in AMQP_URL"),
        Origin::Private { slot } | Origin::Compose { slot } => {
            let file = paths.data().join(format!("broker/node-{slot}/state.json"));
            format!("user {user}, password in {}", paths.short(&file))
        }
    }
}
