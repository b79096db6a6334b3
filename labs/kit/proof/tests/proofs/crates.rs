//! Generates the crates for the proofs: a separate workspace under `target/`. It has the lab's versions,
//! lock file and target folder, so that cargo compiles only their few sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use super::cargo::cargo;
use super::merged;
use super::mutant::Mutant;

/// The package that unites the features of all others.
const FEATURES: &str = "features";

/// The generated workspace.
#[derive(Clone)]
pub struct Crates {
    paths: Paths,
    root: PathBuf,
    members: Vec<String>,
}

impl Crates {
    /// An empty workspace.
    pub fn new(paths: &Paths) -> Result<Self> {
        let root = paths.data().join("proofs/crates");
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        let mut crates = Self {
            paths: paths.clone(),
            root,
            members: Vec::new(),
        };
        crates.unite_features()?;
        Ok(crates)
    }

    /// Adds a chapter's lab as committed, and returns the name of its package and program.
    pub fn pristine(&mut self, chapter: &Chapter) -> Result<String> {
        let name = format!("pristine-{}", chapter.number);
        let dir = self.clear(&name)?;
        let lab = self.paths.short(&chapter.lab);
        let archive = format!(
            "git archive HEAD -- '{lab}/src' '{lab}/Cargo.toml' | tar -x -C '{}' --strip-components=2",
            dir.display()
        );
        let done = Command::new("sh")
            .args(["-c", &archive])
            .current_dir(&self.paths.root)
            .status();
        ensure!(done?.success(), "git cannot give {lab} as committed");
        let manifest = fs::read_to_string(dir.join("Cargo.toml"))
            .with_context(|| format!("{lab} is not committed"))?;
        self.write_manifest(&dir, &name, &manifest, &chapter.package(Variant::Lab))?;
        Ok(name)
    }

    /// Adds a program with these mutants of a chapter's solution, and returns its package. `all` says
    /// whether these are all. All, some and one have different names, so that cargo keeps what it
    /// has built of each.
    pub fn mutants(&mut self, chapter: &Chapter, mutants: &[Mutant], all: bool) -> Result<String> {
        let number = &chapter.number;
        let name = match mutants {
            _ if all => format!("mutants-{number}"),
            [one] => format!("mutant-{number}-{}", one.file),
            _ => format!("some-mutants-{number}"),
        };
        let dir = self.clear(&name)?;
        merged::write(&chapter.solution.join("src"), mutants, &dir.join("src"))?;
        let manifest = fs::read_to_string(chapter.solution.join("Cargo.toml"))?;
        self.write_manifest(&dir, &name, &manifest, &chapter.package(Variant::Solution))?;
        Ok(name)
    }

    /// Writes the workspace. Unchanged files keep their time stamps, so that cargo does not compile
    /// them again.
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
    pub fn build(&self, package: &str) -> Result<()> {
        let manifest = self.root.join("Cargo.toml").display().to_string();
        let mut build = vec!["build", "--offline", "--manifest-path", &manifest];
        // Debug information and incremental state are most of what cargo writes to disk.
        for setting in [
            "profile.dev.debug=false",
            "profile.dev.strip=true",
            "profile.dev.incremental=false",
        ] {
            build.extend(["--config", setting]);
        }
        // Cargo unites the features of the packages that it builds together.
        build.extend(["--package", FEATURES, "--package", package]);
        cargo(&self.paths, &build)?;
        Ok(())
    }

    /// The path of a package's program.
    pub fn program(&self, package: &str) -> PathBuf {
        self.paths.target.join("debug").join(package)
    }

    /// A link to the program of `package`: started through it, the program is this mutant.
    pub fn as_mutant(&self, package: &str, mutant: &Mutant) -> Result<PathBuf> {
        let folder = self.root.join("programs").join(package);
        fs::create_dir_all(&folder)?;
        let link = folder.join(&mutant.file);
        let program = self.program(package);
        if fs::read_link(&link).ok().as_ref() != Some(&program) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&program, &link)?;
        }
        Ok(link)
    }

    /// An empty folder for a member.
    fn clear(&mut self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join("new").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        self.members.push(name.to_owned());
        Ok(dir)
    }

    fn write_manifest(&self, dir: &Path, name: &str, manifest: &str, old: &str) -> Result<()> {
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
        write(&dir.join("Cargo.toml"), &text)
    }

    /// A member with all dependencies of the checks. Cargo unites the features of the packages that it
    /// builds together; without this member it would compile tokio and others twice.
    fn unite_features(&mut self) -> Result<()> {
        let dir = self.clear(FEATURES)?;
        let kit = self.paths.root.join("labs/kit");
        let mut dependencies = BTreeSet::new();
        for entry in fs::read_dir(&kit)? {
            let manifest = fs::read_to_string(entry?.path().join("Cargo.toml"));
            let manifest = manifest.unwrap_or_default();
            let (_, rest) = manifest.split_once("[dependencies]").unwrap_or_default();
            let lines = rest.split("\n[").next().unwrap_or(rest).lines();
            let named = lines.filter_map(|line| line.split_once(".workspace = true"));
            let foreign = named.filter(|(name, _)| !kit.join(name).exists());
            dependencies.extend(foreign.map(|(name, _)| name.to_owned()));
        }
        ensure!(!dependencies.is_empty(), "the checks have no dependencies");
        let mut text = format!(
            "[package]\nname = \"{FEATURES}\"\nedition.workspace = true\n\n[dependencies]\n"
        );
        for name in dependencies {
            text += &format!("{name}.workspace = true\n");
        }
        write(&dir.join("Cargo.toml"), &text)?;
        fs::create_dir_all(dir.join("src"))?;
        write(&dir.join("src/lib.rs"), "")
    }
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
