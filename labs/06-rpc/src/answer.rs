//! What comes back.

use serde::{Deserialize, Serialize};

/// An answer, as it stands in the message's body: `{"name": "Ada"}` or `{"error": "…"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The user's name.
    Name(String),
    /// There is no such user, and that is an answer, too.
    Error(String),
}
