//! The event on exchange `viewed`.

use serde::{Deserialize, Serialize};

/// A film was watched.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Viewed {
    /// Which film.
    pub video_path: String,
}
