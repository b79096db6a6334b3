//! Generates crates from a chapter's sources, changed: a separate workspace under `target/`. It has the
//! lab's versions, lock file and target folder, so that cargo compiles only their few sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use course::chapter::{Chapter, Variant};
use course::holes;
use course::manifest::{Package, packages};
use course::mutants::Mutant;
use course::paths::Paths;

use crate::quiet_cargo::cargo;

/// The package that unites the features of all others.
const FEATURES: &str = "features";

/// The generated workspace.
#[derive(Debug, Clone)]
pub struct Crates {
    paths: Paths,
    root: PathBuf,
    members: Vec<String>,
}

impl Crates {
    /// An empty workspace in the folder `root`, which is created.
    ///
    /// # Errors
    /// When the folder cannot be written, or cargo cannot read the lab's manifests.
    pub fn new(paths: &Paths, root: PathBuf) -> Result<Self> {
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let mut crates = Self {
            paths: paths.clone(),
            root,
            members: Vec::new(),
        };
        crates.unite_features()?;
        Ok(crates)
    }

    /// Adds a chapter's solution with one wrong answer, as a package and program called `name`.
    ///
    /// # Errors
    /// When a file cannot be read or written, or the patch does not apply.
    pub fn mutant(&mut self, chapter: &Chapter, mutant: &Mutant, name: &str) -> Result<()> {
        let (sources, dir) = (chapter.solution.join("src"), self.add(name)?.join("src"));
        for file in holes::files(&sources)? {
            let to = dir.join(&file);
            fs::create_dir_all(to.parent().unwrap_or(&dir))?;
            fs::copy(sources.join(&file), to)?;
        }
        apply(&mutant.path, &dir)?;
        let manifest = fs::read_to_string(chapter.solution.join("Cargo.toml"))?;
        self.write_manifest(name, &manifest, &chapter.package(Variant::Solution))
    }

    /// Adds a member, and returns its empty folder; [`Crates::write_manifest`] completes it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn add(&mut self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join("new").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        self.members.push(name.to_owned());
        Ok(dir)
    }

    /// Writes the manifest of a member: the one of a chapter's package, which is called `old` there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_manifest(&self, name: &str, manifest: &str, old: &str) -> Result<()> {
        let mut text = String::new();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            if section != "[[test]]" {
                text += &format!("{line}\n");
            }
        }
        // Here the checks are in another program.
        let text = text.replace(&format!("\"{old}\""), &format!("\"{name}\""));
        write(&self.root.join("new").join(name).join("Cargo.toml"), &text)
    }

    /// Writes the workspace. Unchanged files keep their time stamps, so that cargo does not compile
    /// them again.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn write(&self) -> Result<()> {
        for name in &self.members {
            update(&self.root.join("new").join(name), &self.root.join(name))?;
        }
        let text = fs::read_to_string(self.paths.root.join("Cargo.toml"))?;
        let mut document = String::new();
        for line in text.lines() {
            let line = match line.split_once(" = ") {
                Some(("members", _)) => format!("members = {:?}", self.members),
                Some(("default-members", _)) => continue,
                _ => line.replace(
                    "path = \"labs/",
                    &format!("path = \"{}/labs/", self.paths.root.display()),
                ),
            };
            document += &line;
            document.push('\n');
        }
        write(&self.root.join("Cargo.toml"), &document)?;
        let [from, to] = [&self.paths.root, &self.root].map(|root| root.join("Cargo.lock"));
        fs::copy(from, to)?;
        Ok(())
    }

    /// Builds a package, after `write`.
    ///
    /// # Errors
    /// When cargo fails, with its messages.
    pub fn build(&self, package: &str) -> Result<()> {
        let manifest = self.root.join("Cargo.toml").display().to_string();
        let mut build = vec!["build", "--offline", "--manifest-path", &manifest];
        // Names of functions and incremental state are most of what cargo writes to disk.
        for setting in ["profile.dev.strip=true", "profile.dev.incremental=false"] {
            build.extend(["--config", setting]);
        }
        // Cargo unites the features of the packages that it builds together.
        build.extend(["--package", FEATURES, "--package", package]);
        cargo(&self.paths, &build)?;
        Ok(())
    }

    /// The path of a package's program.
    #[must_use]
    pub fn program(&self, package: &str) -> PathBuf {
        self.paths.target.join("debug").join(package)
    }

    /// A member with all dependencies of the checks. Cargo unites the features of the packages that it
    /// builds together; without this member it would compile tokio and others twice.
    fn unite_features(&mut self) -> Result<()> {
        let dir = self.add(FEATURES)?;
        let mut text = format!(
            "[package]\nname = \"{FEATURES}\"\nedition.workspace = true\n\n[dependencies]\n"
        );
        for name in foreign(&packages(&self.paths.root)?) {
            text += &format!("{name}.workspace = true\n");
        }
        write(&dir.join("Cargo.toml"), &text)?;
        fs::create_dir_all(dir.join("src"))?;
        write(&dir.join("src/lib.rs"), "")
    }
}

/// The packages from elsewhere that the checks need, directly or through rooms of the kit.
fn foreign(packages: &[Package]) -> BTreeSet<String> {
    let ours: BTreeMap<&str, &Package> = packages
        .iter()
        .map(|package| (package.name.as_str(), package))
        .collect();
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec!["check"];
    while let Some(name) = open.pop() {
        match ours.get(name) {
            Some(package) if seen.insert(name) => open.extend(package.needs()),
            Some(_) => {}
            None => _ = found.insert(name.to_owned()),
        }
    }
    found
}

/// Applies a patch to the copy of a solution's `src` in `folder`.
///
/// # Errors
/// When it does not apply.
pub fn apply(patch: &Path, folder: &Path) -> Result<()> {
    let applied = Command::new("git")
        // The patch has `a/src/file`, and `src` is this folder.
        .args(["apply", "--whitespace=nowarn", "-p2"])
        .arg(patch)
        .current_dir(folder)
        // The clone around this folder ignores it, and git would silently skip it.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .output()
        .context("git cannot be started")?;
    let said = String::from_utf8_lossy(&applied.stderr);
    ensure!(
        applied.status.success(),
        "{} does not apply: {said}",
        patch.display()
    );
    Ok(())
}

/// Makes `to` equal to `from`, without touching equal files.
fn update(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            update(&source, &target)?;
        } else if fs::read(&target).ok() != Some(fs::read(&source)?) {
            fs::copy(source, target)?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
