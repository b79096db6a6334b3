//! The page of a run that goes on.

use serde::Serialize;

use crate::replay::inert;

/// The live page, which gets this as JSON.
#[must_use]
pub fn board(story: &impl Serialize) -> String {
    inert(&serde_json::to_string(story).unwrap_or_default())
}
