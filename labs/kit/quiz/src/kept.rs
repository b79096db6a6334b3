//! Keeps answers and scores: `target/lab/NN/<name>.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The folder of a chapter's runs, hints and answers.
pub fn folder(paths: &Paths, chapter: &Chapter) -> PathBuf {
    paths.data().join(chapter.run_folder(Variant::Lab))
}

/// What the file says; nothing when there is none, or when it is not ours.
pub fn load<T: DeserializeOwned + Default>(file: &Path) -> T {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Writes the file.
///
/// # Errors
/// When it cannot be written.
pub fn save(file: &Path, value: &impl Serialize) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let folder = file.parent().with_context(cannot)?;
    fs::create_dir_all(folder).with_context(cannot)?;
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(file, text).with_context(cannot)
}
