//! Other answers to a chapter than the solution; each is a patch to it. The wrong ones are
//! `labs/NN-name/mutants/*.patch`, each with the check that must catch it, words of its failure, and
//! the hole that it must lead to (`none` where the mistake is in given code):
//!
//! ```text
//! mutant: acks as it takes the message, then works
//! check: killed-consumer
//! hole: 5
//! text: acked it at
//!
//! --- a/src/consumer.rs
//! +++ b/src/consumer.rs
//! ```
//!
//! Those that only a search finds, for their mistake shows at one moment, are
//! `labs/NN-name/timing/*.patch`, each with the word of what the search finds:
//!
//! ```text
//! timing: marks a sale as seen, then books it, in two transactions
//! finds: lost
//! hole: none
//! ```
//!
//! The right ones are `labs/NN-name/variants/*.patch`, in another style; the head is one line,
//! `variant: acks in groups, with a timer`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::chapter::Chapter;
use crate::holes::Place;

/// `variants/<file>.patch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightAnswer {
    /// The file's name without `.patch`.
    pub file: String,
    /// The path of the patch.
    pub path: PathBuf,
    /// What it does otherwise, in a sentence.
    pub otherwise: String,
}

impl RightAnswer {
    /// A chapter's right answers in another style, by name.
    ///
    /// # Errors
    /// When a patch cannot be read, or does not say what it does otherwise.
    pub fn all(chapter: &Chapter) -> Result<Vec<Self>> {
        let read = |path: PathBuf| {
            let patch = Patch::read(&path)?;
            Ok(Self {
                file: patch.file.clone(),
                otherwise: patch.value("variant")?,
                path,
            })
        };
        all(chapter, "variants", read)
    }
}

/// `timing/<file>.patch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimingMutant {
    /// The file's name without `.patch`.
    pub file: String,
    /// The path of the patch.
    pub path: PathBuf,
    /// What is wrong, in a sentence.
    pub wrong: String,
    /// The word of what a search finds.
    pub finds: String,
    /// The hole in which the mistake is; `None` where it is in none.
    pub hole: Option<u32>,
}

impl TimingMutant {
    /// A chapter's timing mutants, by name.
    ///
    /// # Errors
    /// When a patch cannot be read, or lacks one of the three lines before it.
    pub fn all(chapter: &Chapter) -> Result<Vec<Self>> {
        let read = |path: PathBuf| {
            let patch = Patch::read(&path)?;
            Ok(Self {
                wrong: patch.value("timing")?,
                finds: patch.value("finds")?,
                hole: hole(&patch)?,
                file: patch.file,
                path,
            })
        };
        all(chapter, "timing", read)
    }
}

/// The value of `hole:`; `None` for `none`.
fn hole(patch: &Patch) -> Result<Option<u32>> {
    Ok(match &*patch.value("hole")? {
        "none" => None,
        number => Some(number.parse().context("`hole:` is a number or `none`")?),
    })
}

/// `mutants/<file>.patch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// The file's name without `.patch`.
    pub file: String,
    /// The path of the patch.
    pub path: PathBuf,
    /// What is wrong, in a sentence.
    pub wrong: String,
    /// The check that must fail.
    pub check: String,
    /// The hole that its failure must lead to; `None` where the mistake is in none.
    pub hole: Option<u32>,
    /// Words of its failure.
    pub text: String,
    /// The patch itself, from its first line `---`.
    pub diff: String,
}

impl Mutant {
    /// A chapter's mutants, by name.
    ///
    /// # Errors
    /// When a patch cannot be read, or lacks one of the four lines before it.
    pub fn all(chapter: &Chapter) -> Result<Vec<Self>> {
        all(chapter, "mutants", Self::read)
    }

    /// The chapter's mutant of that name.
    ///
    /// # Errors
    /// As [`Mutant::all`], and when none has the name.
    pub fn named(chapter: &Chapter, name: &str) -> Result<Self> {
        let found = Self::all(chapter)?
            .into_iter()
            .find(|mutant| mutant.file == name);
        match found {
            Some(mutant) => Ok(mutant),
            None => bail!("labs/{}/mutants has no {name}.patch", chapter.name),
        }
    }

    fn read(path: PathBuf) -> Result<Self> {
        let patch = Patch::read(&path)?;
        Ok(Self {
            wrong: patch.value("mutant")?,
            check: patch.value("check")?,
            hole: hole(&patch)?,
            text: patch.value("text")?,
            file: patch.file,
            path,
            diff: patch.diff,
        })
    }

    /// The holes in which the patch changes a line, of those in the solution's sources. None where it
    /// changes only what is given.
    #[must_use]
    pub fn holes(&self, solution: &[Place]) -> BTreeSet<u32> {
        let mut holes = BTreeSet::new();
        let mut file = "";
        // The line of the solution that comes next in the patch.
        let mut next = 0;
        for line in self.diff.lines() {
            let (first, last) = if let Some(name) = line.strip_prefix("+++ b/") {
                file = name;
                continue;
            } else if let Some(hunk) = line.strip_prefix("@@ -") {
                let number = hunk.split([',', ' ']).next();
                next = number.and_then(|n| n.parse().ok()).unwrap_or_default();
                continue;
            } else if line.starts_with("---") || next == 0 {
                continue;
            } else if line.starts_with('-') {
                next += 1;
                (next - 1, next - 1)
            } else if line.starts_with('+') {
                // It comes between two lines.
                (next - 1, next)
            } else {
                next += 1;
                continue;
            };
            let changed = solution.iter().filter(|place| {
                let hole = &place.hole;
                // A removed marker belongs to no hole; a line added behind the first one does.
                let inside = match first == last {
                    true => hole.first_line < first && last < hole.last_line,
                    false => hole.first_line <= first && last <= hole.last_line,
                };
                inside && place.file.ends_with(file)
            });
            holes.extend(changed.map(|place| place.hole.number));
        }
        holes
    }
}

/// A patch with the lines above it.
struct Patch {
    file: String,
    head: String,
    diff: String,
}

impl Patch {
    fn read(path: &Path) -> Result<Self> {
        let content = std::fs::read_to_string(path)?;
        let begins = |line: &str| line.starts_with("---") || line.starts_with("diff ");
        let lines = content.split_inclusive('\n');
        let head = lines.clone().take_while(|line| !begins(line)).collect();
        let diff = lines.skip_while(|line| !begins(line)).collect();
        let file = path.file_stem().context("no name")?.to_string_lossy();
        Ok(Self {
            file: file.into_owned(),
            head,
            diff,
        })
    }

    fn value(&self, name: &str) -> Result<String> {
        let mut lines = self.head.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::to_owned)
            .with_context(|| format!("no line `{name}: …`"))
    }
}

/// What `read` makes of each patch in this folder of the chapter's lab, by name; none without the folder.
fn all<T>(chapter: &Chapter, folder: &str, read: impl Fn(PathBuf) -> Result<T>) -> Result<Vec<T>> {
    let folder = chapter.lab.join(folder);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "patch"));
    paths.sort();
    let read = |path: PathBuf| {
        let shown = path.display().to_string();
        read(path).context(shown)
    };
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::holes;
    use proof::Scratch;

    const SOLUTION: &str = "\
use x;
// HOLE 1: declare.
declare();
// END HOLE 1
given();
// HOLE 2: ack.
work();
ack();
// END HOLE 2
";

    /// The mutant with these hunks to `src/main.rs`, and the holes that it is in.
    fn holes_of(hunks: &str) -> Vec<u32> {
        let scratch = Scratch::new("mutants");
        scratch.write("solutions/02-x/src/main.rs", SOLUTION);
        scratch.write("labs/02-x/Cargo.toml", "");
        let head = "mutant: a\ncheck: b\nhole: 2\ntext: c: d\n\n";
        let diff = format!("--- a/src/main.rs\n+++ b/src/main.rs\n{hunks}");
        scratch.write("labs/02-x/mutants/m.patch", &format!("{head}{diff}"));
        let chapter = Chapter::resolve(scratch.path(), "2").unwrap();
        let mutant = Mutant::named(&chapter, "m").unwrap();
        assert_eq!(
            (&*mutant.wrong, &*mutant.check, &*mutant.text),
            ("a", "b", "c: d")
        );
        assert_eq!(mutant.diff, diff);
        let places = holes::in_tree(&chapter.solution.join("src")).unwrap();
        mutant.holes(&places).into_iter().collect()
    }

    #[test]
    fn a_mutant_is_in_the_holes_whose_lines_it_changes() {
        let swapped =
            "@@ -6,4 +6,4 @@\n // HOLE 2: ack.\n+ack();\n work();\n-ack();\n // END HOLE 2\n";
        assert_eq!(holes_of(swapped), [2]);
        let removed = "@@ -2,3 +2,2 @@\n // HOLE 1: declare.\n-declare();\n // END HOLE 1\n";
        assert_eq!(holes_of(removed), [1]);
        let both =
            "@@ -1,3 +1,2 @@\n use x;\n // HOLE 1: declare.\n-declare();\n@@ -8 +7,0 @@\n-ack();\n";
        assert_eq!(holes_of(both), [1, 2]);
        let given =
            "@@ -4,3 +4,4 @@\n // END HOLE 1\n-given();\n+taken();\n+taken();\n // HOLE 2: ack.\n";
        assert_eq!(holes_of(given), [0; 0]);
    }

    #[test]
    fn a_patch_without_its_four_lines_is_an_error() {
        let scratch = Scratch::new("mutants-bad");
        scratch.write(
            "labs/02-x/mutants/m.patch",
            "mutant: a\ncheck: b\nhole: none\n\n--- a/x\n",
        );
        let chapter = Chapter::resolve(scratch.path(), "2").unwrap();
        let error = Mutant::all(&chapter).unwrap_err();
        assert!(
            format!("{error:#}").ends_with("no line `text: …`"),
            "{error:#}"
        );
        assert!(Mutant::named(&chapter, "other").is_err());
    }
}
