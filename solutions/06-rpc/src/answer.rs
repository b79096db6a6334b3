//! What comes back.

use anyhow::{Context, Result};
use common::logging::excerpt;
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

impl Answer {
    /// Reads a message's body.
    ///
    /// # Errors
    /// When it is not an answer: shows what it is.
    pub fn read(body: &[u8]) -> Result<Self> {
        let answer = serde_json::from_slice(body);
        answer.with_context(|| format!("its body is `{}`", excerpt(body)))
    }
}
