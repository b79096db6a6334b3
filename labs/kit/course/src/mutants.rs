//! The wrong answers of a chapter, `labs/NN-name/mutants/*.patch`: each is a patch to the solution, with
//! the check that must catch it.
//!
//! ```text
//! mutant: acks as it takes the message, then works
//! check: killed-consumer
//! text: acked it at
//!
//! --- a/src/consumer.rs
//! +++ b/src/consumer.rs
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::chapter::Chapter;
use crate::holes::Place;

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
    /// Words of its failure.
    pub text: String,
    /// The patch itself, from its first line `---`.
    pub diff: String,
}

impl Mutant {
    /// A chapter's mutants, by name.
    ///
    /// # Errors
    /// When a patch cannot be read, or lacks one of the three lines before it.
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
        let content = std::fs::read_to_string(&path)?;
        let begins = |line: &str| line.starts_with("---") || line.starts_with("diff ");
        let head: Vec<&str> = content.lines().take_while(|line| !begins(line)).collect();
        let value = |name: &str| {
            let line = head
                .iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned)
                .with_context(|| format!("no line `{name}: …`"))
        };
        let (wrong, check, text) = (value("mutant")?, value("check")?, value("text")?);
        let diff = content
            .split_inclusive('\n')
            .skip_while(|line| !begins(line));
        let diff = diff.collect();
        let file = path
            .file_stem()
            .context("no name")?
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            file,
            path,
            wrong,
            check,
            text,
            diff,
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
        let head = "mutant: a\ncheck: b\ntext: c: d\n\n";
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
    fn a_patch_without_its_three_lines_is_an_error() {
        let scratch = Scratch::new("mutants-bad");
        scratch.write(
            "labs/02-x/mutants/m.patch",
            "mutant: a\ncheck: b\n\n--- a/x\n",
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
