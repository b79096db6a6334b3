//! The hints of a chapter: they stand at the end of its README, and a student sees one at a time.
//!
//! ```text
//! ## Hints
//! ### HOLE 3
//! <details><summary>Hint 1</summary>
//!
//! text
//!
//! </details>
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use terminal::wrap;

/// The hints of each hole, the weakest first.
pub type Hints = BTreeMap<u32, Vec<String>>;

/// What is wrong in the section of hints. Line numbers start at 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HintError {
    /// A heading below `## Hints` is not `### HOLE n`.
    #[error("line {line}: `{text}` is not a heading for hints: write `### HOLE 3`")]
    Heading {
        /// The line's number.
        line: usize,
        /// The line's text.
        text: String,
    },
    /// A hole has two sections.
    #[error("line {line}: HOLE {hole} has a second section of hints")]
    Duplicate {
        /// The line of the second one.
        line: usize,
        /// The hole's number.
        hole: u32,
    },
    /// A hint before the first `### HOLE n`.
    #[error("line {line}: a hint comes before the first `### HOLE n`")]
    Homeless {
        /// The line's number.
        line: usize,
    },
    /// A hint with the wrong number.
    #[error("line {line}: expected `Hint {expected}` here")]
    Order {
        /// The line's number.
        line: usize,
        /// The number that the summary should have.
        expected: usize,
    },
    /// `<details>` without `</details>`.
    #[error("line {line}: this hint has no `</details>`")]
    NotEnded {
        /// The line where it begins.
        line: usize,
    },
    /// A hint without text.
    #[error("line {line}: this hint is empty")]
    Empty {
        /// The line where it begins.
        line: usize,
    },
}

/// The hints in a chapter's README; none if it has no section `## Hints`.
///
/// # Errors
/// The first wrong line.
pub fn parse(readme: &str) -> Result<Hints, HintError> {
    let mut hints = Hints::new();
    let mut hole = None;
    let mut in_section = false;
    let mut fenced = false;
    let mut lines = readme.lines().enumerate();
    while let Some((index, text)) = lines.next() {
        let line = index + 1;
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
        } else if let Some(heading) = text.strip_prefix("## ") {
            in_section = heading.trim() == "Hints";
        } else if !in_section {
        } else if let Some(heading) = text.strip_prefix("### ") {
            let number = heading.trim().strip_prefix("HOLE ");
            let Some(number) = number.and_then(|n| n.parse().ok()) else {
                let text = text.to_owned();
                return Err(HintError::Heading { line, text });
            };
            if hints.insert(number, Vec::new()).is_some() {
                return Err(HintError::Duplicate { line, hole: number });
            }
            hole = Some(number);
        } else if text.trim_start().starts_with("<details>") {
            let of_hole = hole.and_then(|number| hints.get_mut(&number));
            let of_hole = of_hole.ok_or(HintError::Homeless { line })?;
            let expected = of_hole.len() + 1;
            if !text.contains(&format!("<summary>Hint {expected}</summary>")) {
                return Err(HintError::Order { line, expected });
            }
            let body: Vec<&str> = lines
                .by_ref()
                .map(|(_, text)| text)
                .take_while(|text| text.trim() != "</details>")
                .collect();
            if line + body.len() >= readme.lines().count() {
                return Err(HintError::NotEnded { line });
            }
            let body = body.join("\n").trim().to_owned();
            if body.is_empty() {
                return Err(HintError::Empty { line });
            }
            of_hole.push(body);
        }
    }
    Ok(hints)
}

/// A hint for a terminal of `width` columns. Wraps each paragraph and each list item; code stays
/// as it is.
#[must_use]
pub fn lay_out(hint: &str, width: usize) -> String {
    let mut shown = Vec::new();
    let mut paragraph = String::new();
    let mut fenced = false;
    for line in hint.lines() {
        let fence = line.trim_start().starts_with("```");
        let item = line.trim_start().starts_with("- ");
        if fence || fenced || item || line.trim().is_empty() {
            wrap_paragraph(&std::mem::take(&mut paragraph), width, &mut shown);
        }
        fenced ^= fence;
        if fence || fenced || line.trim().is_empty() {
            shown.push(line.to_owned());
        } else if paragraph.is_empty() {
            line.trim_end().clone_into(&mut paragraph);
        } else {
            paragraph = format!("{paragraph} {}", line.trim());
        }
    }
    wrap_paragraph(&paragraph, width, &mut shown);
    shown.join("\n")
}

/// Wraps a paragraph or a list item. Further lines of an item are indented like its text.
fn wrap_paragraph(paragraph: &str, width: usize, shown: &mut Vec<String>) {
    let text = paragraph.trim_start();
    if text.is_empty() {
        return;
    }
    let text = text.strip_prefix("- ").unwrap_or(text);
    let before = &paragraph[..paragraph.len() - text.len()];
    for (index, line) in wrap(text, width - before.len()).into_iter().enumerate() {
        shown.push(match index {
            0 => format!("{before}{line}"),
            _ => " ".repeat(before.len()) + &line,
        });
    }
}

/// How many hints of each hole a student has seen, kept in a file.
#[derive(Debug)]
pub struct SeenHints {
    path: PathBuf,
    shown: Shown,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Shown {
    shown: BTreeMap<u32, usize>,
}

impl SeenHints {
    /// Reads the file `path`. A missing or damaged file counts as no hints seen: at worst a hint is
    /// shown twice.
    #[must_use]
    pub fn load(path: PathBuf) -> Self {
        let shown = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { path, shown }
    }

    /// Counts one more hint of `hole`, which has `of` hints, and returns its number, from 1. After the
    /// last hint, it returns the last again.
    pub fn next(&mut self, hole: u32, of: usize) -> usize {
        let shown = self.shown.shown.entry(hole).or_default();
        *shown = (*shown + 1).min(of);
        *shown
    }

    /// Whether the student has seen the last of the `of` hints of `hole`.
    #[must_use]
    pub fn all(&self, hole: u32, of: usize) -> bool {
        self.shown
            .shown
            .get(&hole)
            .is_some_and(|shown| *shown >= of)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> std::io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        fs::write(&self.path, serde_json::to_vec(&self.shown)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    fn hint(number: usize, text: &str) -> String {
        format!("<details><summary>Hint {number}</summary>\n\n{text}\n\n</details>\n")
    }

    #[test]
    fn hints_are_read_by_hole_in_order() {
        let readme = format!(
            "# 02 · X\n\n### HOLE 9\n\n## Hints\n\n### HOLE 1\n{}{}\n### HOLE 2\n{}## After\n### Z\n",
            hint(1, "first"),
            hint(2, "see:\n\n```rust\n### HOLE 7\n```"),
            hint(1, "other"),
        );
        let hints = parse(&readme).unwrap();
        assert_eq!(hints.len(), 2);
        assert_eq!(hints[&1], ["first", "see:\n\n```rust\n### HOLE 7\n```"]);
        assert_eq!(hints[&2], ["other"]);
        assert_eq!(parse("# 02 · X\n").unwrap(), Hints::new());
    }

    #[test]
    fn an_error_names_its_line() {
        let error = |body: &str| parse(&format!("## Hints\n{body}")).unwrap_err();
        assert_eq!(error(&hint(1, "x")), HintError::Homeless { line: 2 });
        assert_eq!(
            error(&format!("### HOLE 1\n{}", hint(2, "x"))),
            HintError::Order {
                line: 3,
                expected: 1
            }
        );
        assert_eq!(
            error("### HOLE 1\n<details><summary>Hint 1</summary>\nx\n"),
            HintError::NotEnded { line: 3 }
        );
        assert_eq!(
            error(&format!("### HOLE 1\n{}", hint(1, ""))),
            HintError::Empty { line: 3 }
        );
        assert_eq!(
            error("### HOLE 1\n### HOLE 1\n"),
            HintError::Duplicate { line: 3, hole: 1 }
        );
        assert!(matches!(error("### Hole 1\n"), HintError::Heading { .. }));
    }

    #[test]
    fn a_hint_is_wrapped_and_its_code_is_not() {
        let hint = "one two three\nfour\n\n- five six\n  seven\n- eight\n\n```rust\nlet long = 1;\n```\nend";
        let shown = "one two\nthree four\n\n- five six\n  seven\n- eight\n\n```rust\nlet long = 1;\n```\nend";
        assert_eq!(lay_out(hint, 10), shown);
    }

    #[test]
    fn hints_are_counted_and_the_last_is_shown_again() {
        let scratch = Scratch::new("hints");
        let file = scratch.path().join("02/hints.json");
        for expected in [1, 2, 3, 3] {
            let mut seen = SeenHints::load(file.clone());
            assert_eq!(seen.all(3, 3), expected == 3 && seen.shown.shown[&3] == 3);
            assert_eq!(seen.next(3, 3), expected);
            seen.save().unwrap();
        }
        assert_eq!(SeenHints::load(file.clone()).next(1, 2), 1, "another hole");
        scratch.write("02/hints.json", "spoilt");
        assert_eq!(SeenHints::load(file).next(3, 3), 1);
    }
}
