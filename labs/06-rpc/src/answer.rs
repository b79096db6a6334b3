//! An answer, as the service sends it and the client reads it.

use anyhow::{Context, Result};
use common::logging::excerpt;
use serde::{Deserialize, Serialize};

/// The JSON in the message's body: `{"name": "Ada"}` or `{"error": "…"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The user's name.
    Name(String),
    /// There is no such user. That is an answer, too.
    Error(String),
}

impl Answer {
    /// Reads a message's body.
    ///
    /// # Errors
    /// When it is not an answer; the error shows the body.
    pub fn read(body: &[u8]) -> Result<Self> {
        let answer = serde_json::from_slice(body);
        answer.with_context(|| format!("its body is `{}`", excerpt(body)))
    }
}
