//! `catch-up NN HOLE`: fills the holes before that one from the solution, so that a class stays together.
//! It keeps a copy of what was there, as `reset` does, and every hole that the student has filled.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result};
use course::chapter::Chapter;
use course::holes::{self, Place};
use course::paths::Paths;

use crate::copy::{keep, tell_kept};
use command::Which;
use terminal::user_error;
use terminal::{DIM, GOOD, TYPE};

/// What `catch-up` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The hole that the class is at: those before it are filled
    hole: u32,
    /// Take ours for the holes that you have filled, too
    #[arg(long)]
    force: bool,
}

/// Fills the holes, and prints which ones, which stay, and where the student's files are.
///
/// # Errors
/// When there is no such hole, a marker is broken, or a file cannot be written.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let (number, hole) = (&chapter.number, args.hole);
    let src = chapter.lab.join("src");
    let short = paths.short(&src);
    let theirs = holes::in_tree(&chapter.solution.join("src"))?;
    if !theirs.iter().any(|place| place.hole.number == hole) {
        let last = theirs.len();
        return Err(user_error(
            format!("lab {number} has no HOLE {hole}: its holes are 1 to {last}"),
            format!("just catch-up {number} HOLE, with the hole that comes next"),
        ));
    }
    let before: Vec<&Place> = theirs
        .iter()
        .filter(|place| place.hole.number < hole)
        .collect();
    let work = Work::on(paths, &chapter, &before, args.force)?;
    if work.texts.is_empty() {
        println!("{short}: no hole before HOLE {hole} is to be filled. Nothing was changed.");
        work.print(number, hole);
        return Ok(ExitCode::SUCCESS);
    }
    let copy = keep(paths, &src, &chapter.name)?;
    for (file, text) in &work.texts {
        let failed = || format!("cannot write {}", paths.short(file));
        fs::write(file, text).with_context(failed)?;
    }
    let copy = paths.short(&copy);
    println!("{GOOD}✔{GOOD:#} {short} is filled up to HOLE {hole}:");
    work.print(number, hole);
    tell_kept(&copy, &short);
    if let Ok(Some((file, line))) = holes::locate(&src, hole) {
        let file = paths.short(&file);
        println!("{DIM}next{DIM:#}      HOLE {hole}, {file}:{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What is done with the holes.
#[derive(Default)]
struct Work {
    /// The files that change, with their new text.
    texts: BTreeMap<PathBuf, String>,
    filled: Vec<u32>,
    /// The student's own.
    kept: Vec<u32>,
}

impl Work {
    /// Fills the holes `before` from the solution; nothing is written yet.
    fn on(paths: &Paths, chapter: &Chapter, before: &[&Place], force: bool) -> Result<Self> {
        let broken = |what: String| {
            let number = &chapter.number;
            user_error(
                format!(
                    "{what}. Without its markers nobody can tell where a hole ends; nothing was changed"
                ),
                format!(
                    "put the marker back (just diff {number} shows it), or: just reset {number}"
                ),
            )
        };
        let ours = holes::in_tree(&chapter.lab.join("src")).map_err(|error| {
            let root = format!("{}/", paths.root.display());
            broken(error.to_string().replace(&root, ""))
        })?;
        let mut work = Self::default();
        for place in before {
            let number = place.hole.number;
            let our = ours.iter().find(|our| our.hole.number == number);
            let our = our.ok_or_else(|| {
                let file = place.file.strip_prefix(&chapter.solution);
                let file = chapter.lab.join(file.unwrap_or(&place.file));
                broken(format!("{} has lost HOLE {number}", paths.short(&file)))
            })?;
            let read = |file: &PathBuf| {
                fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", paths.short(file)))
            };
            let text = match work.texts.get(&our.file) {
                Some(text) => text.clone(),
                None => read(&our.file)?,
            };
            // A hole that was filled before has moved the lines of this one.
            let parsed = holes::parse(&text)?;
            let open = parsed
                .iter()
                .any(|hole| hole.number == number && holes::is_open(&text, hole));
            let filled = holes::fill(&text, &read(&place.file)?, number)?;
            if filled == text {
                continue;
            }
            if open || force {
                work.filled.push(number);
                work.texts.insert(our.file.clone(), filled);
            } else {
                work.kept.push(number);
            }
        }
        Ok(work)
    }

    fn print(&self, number: &str, hole: u32) {
        if !self.filled.is_empty() {
            println!("  filled   {}", list(&self.filled));
        }
        if !self.kept.is_empty() {
            println!("  kept     {}, as you have filled it", list(&self.kept));
            println!(
                "           ours instead: {TYPE}just catch-up {number} {hole} --force{TYPE:#}"
            );
        }
    }
}

/// `HOLE 1, HOLE 3`.
fn list(holes: &[u32]) -> String {
    let names: Vec<String> = holes.iter().map(|hole| format!("HOLE {hole}")).collect();
    names.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    const LAB: &str = "labs/02-queue/src/main.rs";

    fn source(holes: &[&str]) -> String {
        let hole = |(index, inside): (usize, &&str)| {
            let number = index + 1;
            format!("given({number});\n// HOLE {number}: do it.\n{inside}\n// END HOLE {number}\n")
        };
        holes.iter().enumerate().map(hole).collect()
    }

    /// A clone whose solution is three calls, and whose lab is `lab`.
    fn clone(name: &str, lab: &str) -> (Scratch, Paths) {
        let scratch = Scratch::new(name);
        let root = scratch.path().canonicalize().unwrap();
        scratch.write(LAB, lab);
        let solution = source(&["one();\n// Twice:\none();", "two();", "three();"]);
        scratch.write("solutions/02-queue/src/main.rs", &solution);
        let target = root.join("target");
        (scratch, Paths { root, target })
    }

    fn catch_up(paths: &Paths, hole: u32, force: bool) -> Result<ExitCode> {
        let chapter = "2".to_owned();
        let which = Which { chapter };
        run(paths, &Args { which, hole, force })
    }

    fn now(paths: &Paths) -> String {
        fs::read_to_string(paths.root.join(LAB)).unwrap()
    }

    fn copies(paths: &Paths) -> Vec<String> {
        let Ok(kept) = fs::read_dir(paths.data().join("reset")) else {
            return Vec::new();
        };
        let text = |folder: PathBuf| fs::read_to_string(folder.join("main.rs")).unwrap();
        kept.map(|entry| text(entry.unwrap().path())).collect()
    }

    #[test]
    fn open_holes_are_filled_and_the_students_own_are_kept() {
        let todo = "todo!(\"HOLE 1: do it\")";
        let before = source(&[todo, "mine();", "// Naive: no.\nno();"]) + "// mine, too";
        let (_scratch, paths) = clone("catch-up", &before);
        catch_up(&paths, 3, false).unwrap();
        let one = "one();\n// Twice:\none();";
        let after = source(&[one, "mine();", "// Naive: no.\nno();"]) + "// mine, too";
        assert_eq!(now(&paths), after);
        assert_eq!(copies(&paths), [before]);
        // There is nothing more to do, and nothing to keep.
        catch_up(&paths, 3, false).unwrap();
        assert_eq!(now(&paths), after);
        assert_eq!(copies(&paths).len(), 1);
        catch_up(&paths, 3, true).unwrap();
        let forced = source(&[one, "two();", "// Naive: no.\nno();"]) + "// mine, too";
        assert_eq!(now(&paths), forced);
        assert!(copies(&paths).contains(&after));
    }

    #[test]
    fn before_the_first_hole_there_is_nothing_to_fill() {
        let lab = source(&[
            "todo!(\"HOLE 1\")",
            "todo!(\"HOLE 2\")",
            "todo!(\"HOLE 3\")",
        ]);
        let (_scratch, paths) = clone("catch-up-first", &lab);
        catch_up(&paths, 1, true).unwrap();
        assert_eq!((now(&paths), copies(&paths).len()), (lab, 0));
    }

    #[test]
    fn without_its_markers_nothing_is_filled() {
        let lab = source(&["todo!(\"HOLE 1\")", "todo!(\"HOLE 2\")", "three();"]);
        let broken = [
            (
                lab.replace("// END HOLE 2\n", ""),
                "HOLE 3 begins before END HOLE 2",
            ),
            (lab.replace("HOLE 1", "hole 1"), "main.rs has lost HOLE 1"),
        ];
        for (lab, says) in broken {
            let (_scratch, paths) = clone("catch-up-broken", &lab);
            let error = catch_up(&paths, 3, true).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(error.starts_with("labs/02-queue/src/main.rs"), "{error}");
            assert_eq!((now(&paths), copies(&paths).len()), (lab, 0));
        }
        let (_scratch, paths) = clone("catch-up-none", &lab);
        let error = catch_up(&paths, 4, false).unwrap_err().to_string();
        assert_eq!(error, "lab 02 has no HOLE 4: its holes are 1 to 3");
    }
}
