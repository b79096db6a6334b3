//! Crates made for the proofs: a workspace of their own under `target/`, with the lab's
//! versions, lock file and target folder, so that only their few sources are compiled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kit::chapter::{Chapter, Variant};
use kit::paths::Paths;

use super::mutant::Mutant;
use super::{cargo, program};

/// The member that unites the features of all others.
const FEATURES: &str = "features";

/// The generated workspace.
pub struct Crates {
    paths: Paths,
    root: PathBuf,
    members: Vec<String>,
}

impl Crates {
    /// An empty one.
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

    /// Adds a chapter's lab as committed, and gives where its program will be.
    pub fn pristine(&mut self, chapter: &Chapter) -> Result<PathBuf> {
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
        Ok(program(&self.paths, &name))
    }

    /// Adds a mutant of a chapter's solution, and gives where its program will be.
    pub fn mutant(&mut self, chapter: &Chapter, mutant: &Mutant) -> Result<PathBuf> {
        let name = format!("mutant-{}-{}", chapter.number, mutant.file);
        let dir = self.clear(&name)?;
        copy(&chapter.solution.join("src"), &dir.join("src"))?;
        let applied = Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(&mutant.path)
            .current_dir(&dir)
            // The folder is ignored by the clone around it, and git would skip it in silence.
            .env("GIT_CEILING_DIRECTORIES", self.root.join("new"))
            .output()?;
        let said = String::from_utf8_lossy(&applied.stderr);
        ensure!(
            applied.status.success(),
            "{} does not apply: {said}",
            mutant.path.display()
        );
        let manifest = fs::read_to_string(chapter.solution.join("Cargo.toml"))?;
        self.write_manifest(&dir, &name, &manifest, &chapter.package(Variant::Solution))?;
        Ok(program(&self.paths, &name))
    }

    /// Builds those of these programs; nothing where there are none.
    pub fn build<'a>(&self, programs: impl Iterator<Item = &'a Path>) -> Result<()> {
        let names = programs.filter_map(|program| program.file_name()?.to_str());
        let packages: Vec<&str> = names.flat_map(|name| ["--package", name]).collect();
        if packages.is_empty() {
            return Ok(());
        }
        self.settle()?;
        let text = fs::read_to_string(self.paths.root.join("Cargo.toml"))?;
        let mut document = String::new();
        for line in text.lines() {
            let line = match line.split_once(" = ") {
                Some(("members", _)) => format!("members = {:?}", self.members),
                _ => line.replace(
                    "path = \"labs/",
                    &format!("path = \"{}/labs/", self.paths.root.display()),
                ),
            };
            document += &line;
            document.push('\n');
        }
        write(&self.root.join("Cargo.toml"), &document)?;
        fs::copy(
            self.paths.root.join("Cargo.lock"),
            self.root.join("Cargo.lock"),
        )?;
        let manifest = self.root.join("Cargo.toml").display().to_string();
        let build = ["build", "--offline", "--manifest-path", &manifest];
        // The features are united over what is built at once.
        let features = ["--package", FEATURES];
        cargo(&self.paths, &[&build[..], &features, &packages].concat())?;
        Ok(())
    }

    /// An empty folder in which a member is made.
    fn clear(&mut self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join("new").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        self.members.push(name.to_owned());
        Ok(dir)
    }

    /// Puts the members that were made into their places. What is the same keeps its time,
    /// so that cargo compiles it once only.
    fn settle(&self) -> Result<()> {
        for name in &self.members {
            update(&self.root.join("new").join(name), &self.root.join(name))?;
        }
        Ok(())
    }

    fn write_manifest(&self, dir: &Path, name: &str, manifest: &str, old: &str) -> Result<()> {
        let without_test = manifest.split("[[test]]").collect::<Vec<_>>();
        let mut text = without_test[0].to_owned();
        if let Some(rest) = without_test.get(1) {
            text += rest.split_once("\n\n").map_or("", |(_, rest)| rest);
        }
        // The checks are another program's here.
        let text = text.replace(&format!("\"{old}\""), &format!("\"{name}\""));
        write(&dir.join("Cargo.toml"), &text)
    }

    /// A member with all that the kit depends on. Cargo unites the features of all that it
    /// builds at once; without this one, tokio and its like would be compiled once more.
    fn unite_features(&mut self) -> Result<()> {
        let dir = self.clear(FEATURES)?;
        let manifest = fs::read_to_string(self.paths.root.join("labs/kit/Cargo.toml"))?;
        let (_, rest) = manifest
            .split_once("[dependencies]")
            .context("the kit has no dependencies")?;
        let dependencies = rest.split("\n[").next().unwrap_or(rest);
        let text = format!(
            "[package]\nname = \"{FEATURES}\"\nedition.workspace = true\n\n[dependencies]{dependencies}"
        );
        write(&dir.join("Cargo.toml"), &text)?;
        fs::create_dir_all(dir.join("src"))?;
        write(&dir.join("src/lib.rs"), "")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Makes `to` equal to `from` without touching the files that are equal already.
fn update(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            fs::remove_file(entry.path())?;
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
