//! Where the lab's files are: the workspace root, and the folders under `target/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of one clone of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The workspace root: the folder that holds `labs`, `solutions` and `justfile`.
    pub root: PathBuf,
    /// Cargo's target folder: `CARGO_TARGET_DIR` when set, else `<root>/target`.
    pub target: PathBuf,
}

impl Paths {
    /// The clone that this program was built from, or, if that was moved, the one around the current
    /// folder.
    ///
    /// # Errors
    /// When neither exists.
    pub fn find() -> Result<Self> {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        let root = std::iter::once(built_from.as_path())
            .chain(here.ancestors())
            .find(|dir| dir.join("labs/kit/course/Cargo.toml").is_file())
            .context("no clone of the lab here: change into the folder that holds `justfile`")?;
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", root.display()))?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The folder for everything that the lab creates: brokers, runs, traces.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.target.join("lab")
    }

    /// `path` as a student types it: relative to the root, if it is inside.
    #[must_use]
    pub fn short(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}
