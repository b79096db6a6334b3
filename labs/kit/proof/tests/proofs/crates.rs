//! The crates for the proofs: a chapter's rungs in one program, and other answers than its solution in
//! another.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use command::crates::Crates;
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use super::merged::{self, Sources};
use super::rungs::Rung;

/// Adds a program with these rungs of a chapter's ladder, and returns its package.
pub fn ladder(crates: &mut Crates, chapter: &Chapter, rungs: &[Rung]) -> Result<String> {
    let name = format!("ladder-{}", chapter.number);
    let original = merged::read(&chapter.solution.join("src"))?;
    let mut variants = Vec::new();
    for rung in rungs {
        variants.push((rung.name(), merged::read(&rung.sources)?));
    }
    add(crates, chapter, &name, &original, &variants)?;
    Ok(name)
}

/// Another answer than the solution.
pub struct Answer {
    /// The name under which its program is started.
    pub name: String,
    /// Its patch to the solution.
    pub patch: PathBuf,
}

/// Adds a program with these answers to a chapter, and returns its package. `all` says whether these are
/// all. All, some and one have different names, so that cargo keeps what it has built of each.
pub fn answers(
    crates: &mut Crates,
    chapter: &Chapter,
    answers: &[Answer],
    all: bool,
) -> Result<String> {
    let number = &chapter.number;
    let name = match answers {
        _ if all => format!("answers-{number}"),
        [one] => format!("answer-{number}-{}", one.name),
        _ => format!("some-answers-{number}"),
    };
    let original = merged::read(&chapter.solution.join("src"))?;
    let scratch = proof::Scratch::new("answers");
    let mut variants = Vec::new();
    for answer in answers {
        let changed = merged::patched(&original, &answer.patch, scratch.path())?;
        variants.push((answer.name.clone(), changed));
    }
    add(crates, chapter, &name, &original, &variants)?;
    Ok(name)
}

/// Adds the package `name`: a program with these variants of a chapter's solution.
fn add(
    crates: &mut Crates,
    chapter: &Chapter,
    name: &str,
    original: &Sources,
    variants: &[(String, Sources)],
) -> Result<()> {
    let dir = crates.add(name)?;
    merged::write(original, variants, &dir.join("src"))?;
    let manifest = fs::read_to_string(chapter.solution.join("Cargo.toml"))?;
    crates.write_manifest(name, &manifest, &chapter.package(Variant::Solution))
}

/// A link to the program of `package`: started through it, the program is the variant of that name.
pub fn as_variant(paths: &Paths, crates: &Crates, package: &str, variant: &str) -> Result<PathBuf> {
    let folder = paths.data().join("proofs/crates/programs").join(package);
    fs::create_dir_all(&folder)?;
    let link = folder.join(variant);
    let program = crates.program(package);
    if fs::read_link(&link).ok().as_ref() != Some(&program) {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link)?;
    }
    Ok(link)
}
