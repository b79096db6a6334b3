//! What a button asks for.

use serde::Deserialize;

/// What a button asks for, as a page sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Kill a service with SIGKILL.
    Kill {
        /// Its name.
        service: String,
    },
    /// Keep a service from running.
    Freeze {
        /// Its name.
        service: String,
    },
    /// Let a frozen service run again.
    Thaw {
        /// Its name.
        service: String,
    },
    /// Start a service that has ended.
    Start {
        /// Its name.
        service: String,
    },
    /// Close a service's connections, and refuse new ones.
    Cut {
        /// Its name.
        service: String,
    },
    /// Let a service's connections in again.
    Heal {
        /// Its name.
        service: String,
    },
    /// Start another service of the same role.
    More {
        /// The name of the first one.
        service: String,
    },
    /// Start a program of the chapter, as one of the lines to try does.
    Run {
        /// The number of the line, from 0.
        line: usize,
    },
    /// Kill the broker, and let it start again.
    Restart,
    /// Publish a message.
    Publish {
        /// To this exchange; the default one has an empty name.
        exchange: String,
        /// The routing key.
        key: String,
        /// The body.
        body: String,
    },
}
