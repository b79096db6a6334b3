//! What the tests of all crates share: waiting for a state, a temporary folder, a trial on actix's
//! runtime. The proofs themselves are in `tests/`: start
//! reading at `tests/proofs.rs`.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything here takes, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for something that must *not* happen.
pub const SILENCE: Duration = Duration::from_millis(150);

/// A test on actix's runtime, which the kit's code needs.
pub fn trial<F>(name: &str, test: fn() -> F) -> Trial
where
    F: Future<Output = Result<()>> + 'static,
{
    Trial::test(name, move || {
        let limited = async {
            tokio::time::timeout(PATIENCE * 3, test())
                .await
                .context("the test hangs")?
        };
        actix_web::rt::System::new()
            .block_on(limited)
            .map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Waits for `future`, at most [`PATIENCE`].
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .with_context(|| format!("not within {PATIENCE:?}: {what}"))
}

/// Waits until `is_so` returns true, at most [`PATIENCE`].
pub async fn until(what: &str, is_so: impl FnMut() -> bool) -> Result<()> {
    until_within(PATIENCE, what, is_so).await
}

/// Waits until `is_so` returns true, at most `patience`.
pub async fn until_within(
    patience: Duration,
    what: &str,
    mut is_so: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_so() {
        ensure!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    Ok(())
}

/// A temporary folder, removed when this value is dropped.
pub struct Scratch(TempDir);

impl Scratch {
    /// A new folder with `name` in its name.
    ///
    /// # Panics
    /// When it cannot be created.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let prefix = format!("lab-{name}-");
        Self(TempDir::with_prefix(prefix).expect("a temporary folder"))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file in it, and creates the folders above.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        let folder = path.parent().unwrap_or(self.path());
        fs::create_dir_all(folder).expect("a folder in the temporary one");
        fs::write(path, text).expect("a file in the temporary folder");
    }
}

/// The lines of a JSONL file; an error when one of them is not JSON.
pub fn json_lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path)?;
    ensure!(text.ends_with('\n'), "the last line is incomplete");
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
        .collect()
}
