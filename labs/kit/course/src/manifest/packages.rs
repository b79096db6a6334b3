//! The packages of the workspace, from `cargo metadata`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// One package of the workspace: the parts that the lab needs.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name: `lab-02`.
    pub name: String,
    /// What it builds.
    pub targets: Vec<Target>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) metadata: Option<serde_json::Value>,
}

impl Package {
    /// The names of the packages that it needs to build, without those that only its tests need.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let needed = self.dependencies.iter().filter(|on| on.kind.is_none());
        needed.map(|on| on.name.as_str())
    }
}

/// One thing that a package builds.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is: `bin`, `test`, `lib`.
    pub kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// The packages of the workspace at `root`.
///
/// # Errors
/// When cargo cannot be started, or cannot read a manifest.
pub fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("cargo cannot read the manifests: {}", words.trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata.packages)
}
