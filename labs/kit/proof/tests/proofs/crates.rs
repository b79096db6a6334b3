//! The crates for the proofs: pristine labs, and a chapter's mutants in one program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use command::crates::Crates;
use course::chapter::{Chapter, Variant};
use course::mutants::Mutant;
use course::paths::Paths;

use super::merged;

/// Adds a chapter's lab as committed, and returns the name of its package and program.
pub fn pristine(paths: &Paths, crates: &mut Crates, chapter: &Chapter) -> Result<String> {
    let name = format!("pristine-{}", chapter.number);
    let dir = crates.add(&name)?;
    let lab = paths.short(&chapter.lab);
    let archive = format!(
        "git archive HEAD -- '{lab}/src' '{lab}/Cargo.toml' | tar -x -C '{}' --strip-components=2",
        dir.display()
    );
    let done = Command::new("sh")
        .args(["-c", &archive])
        .current_dir(&paths.root)
        .status();
    ensure!(done?.success(), "git cannot give {lab} as committed");
    let manifest = fs::read_to_string(dir.join("Cargo.toml"))
        .with_context(|| format!("{lab} is not committed"))?;
    crates.write_manifest(&name, &manifest, &chapter.package(Variant::Lab))?;
    Ok(name)
}

/// Adds a program with these mutants of a chapter's solution, and returns its package. `all` says
/// whether these are all. All, some and one have different names, so that cargo keeps what it
/// has built of each.
pub fn mutants(
    crates: &mut Crates,
    chapter: &Chapter,
    mutants: &[Mutant],
    all: bool,
) -> Result<String> {
    let number = &chapter.number;
    let name = match mutants {
        _ if all => format!("mutants-{number}"),
        [one] => format!("mutant-{number}-{}", one.file),
        _ => format!("some-mutants-{number}"),
    };
    let dir = crates.add(&name)?;
    merged::write(&chapter.solution.join("src"), mutants, &dir.join("src"))?;
    let manifest = fs::read_to_string(chapter.solution.join("Cargo.toml"))?;
    crates.write_manifest(&name, &manifest, &chapter.package(Variant::Solution))?;
    Ok(name)
}

/// A link to the program of `package`: started through it, the program is this mutant.
pub fn as_mutant(
    paths: &Paths,
    crates: &Crates,
    package: &str,
    mutant: &Mutant,
) -> Result<PathBuf> {
    let folder = paths.data().join("proofs/crates/programs").join(package);
    fs::create_dir_all(&folder)?;
    let link = folder.join(&mutant.file);
    let program = crates.program(package);
    if fs::read_link(&link).ok().as_ref() != Some(&program) {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link)?;
    }
    Ok(link)
}
