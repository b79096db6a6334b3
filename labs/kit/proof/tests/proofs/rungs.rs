//! The rungs of a chapter's ladder: the lab as committed, with its first holes filled from the solution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use course::chapter::Chapter;
use course::holes;
use course::paths::Paths;

/// The lab with the holes 1 to `filled` filled.
#[derive(Debug, Clone)]
pub struct Rung {
    /// How many holes are filled.
    pub filled: u32,
    /// The folder with its sources.
    pub sources: PathBuf,
}

impl Rung {
    /// The name of its program.
    pub fn name(&self) -> String {
        format!("holes-{}", self.filled)
    }
}

/// Writes the sources of all rungs but the last, which is the solution.
pub fn write(paths: &Paths, chapter: &Chapter) -> Result<Vec<Rung>> {
    let folder = paths.data().join("proofs/ladder").join(&chapter.number);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let lab = folder.join("lab");
    committed(paths, chapter, &lab)?;
    let solution = chapter.solution.join("src");
    let mut rungs = Vec::new();
    for (filled, _) in (0..).zip(holes::in_tree(&solution)?) {
        let sources = folder.join(filled.to_string());
        fs::create_dir_all(&sources)?;
        for file in holes::files(&lab)? {
            let text = climb(&lab.join(&file), &solution.join(&file), filled)?;
            fs::write(sources.join(&file), text)?;
        }
        rungs.push(Rung { filled, sources });
    }
    Ok(rungs)
}

/// The text of a lab's file with the holes 1 to `filled` from the solution's.
fn climb(lab: &Path, solution: &Path, filled: u32) -> Result<Vec<u8>> {
    let (lab, solution) = (fs::read(lab)?, fs::read(solution)?);
    let (Ok(mut text), Ok(solution)) =
        (String::from_utf8(lab.clone()), String::from_utf8(solution))
    else {
        return Ok(lab);
    };
    for hole in 1..=filled {
        text = holes::fill(&text, &solution, hole)?;
    }
    Ok(text.into_bytes())
}

/// The sources of a chapter's lab as committed, into `dir`.
fn committed(paths: &Paths, chapter: &Chapter, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let lab = paths.short(&chapter.lab);
    let archive = format!(
        "git archive HEAD:'{lab}/src' | tar -x -C '{}'",
        dir.display()
    );
    let done = Command::new("sh")
        .args(["-c", &archive])
        .current_dir(&paths.root)
        .status()?;
    ensure!(done.success(), "git cannot give {lab} as committed");
    Ok(())
}
