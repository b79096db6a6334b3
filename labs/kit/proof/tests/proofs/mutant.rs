//! A wrong answer: a patch to a solution, with the check that must catch it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use course::chapter::Chapter;

/// `mutants/<file>.patch`.
pub struct Mutant {
    /// The file's name without `.patch`.
    pub file: String,
    /// The path of the patch.
    pub path: PathBuf,
    /// The check that must fail.
    pub check: String,
    /// Words of its failure.
    pub text: String,
}

impl Mutant {
    /// A chapter's mutants, by name.
    pub fn all(chapter: &Chapter) -> Result<Vec<Self>> {
        let folder = chapter.lab.join("mutants");
        let mut mutants = Vec::new();
        if !folder.exists() {
            return Ok(mutants);
        }
        let entries = std::fs::read_dir(&folder)?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "patch") {
                mutants.push(Self::read(path.clone()).with_context(|| path.display().to_string())?);
            }
        }
        mutants.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(mutants)
    }

    fn read(path: PathBuf) -> Result<Self> {
        let content = std::fs::read_to_string(&path)?;
        let head = content
            .lines()
            .take_while(|line| !line.starts_with("---") && !line.starts_with("diff "));
        let head: Vec<&str> = head.collect();
        let value = |name: &str| {
            let line = head
                .iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned)
                .with_context(|| format!("no line `{name}: …`"))
        };
        value("mutant")?;
        let (check, text) = (value("check")?, value("text")?);
        let file = path
            .file_stem()
            .context("no name")?
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            file,
            path,
            check,
            text,
        })
    }
}
