//! The holes in a lab's sources: what stands between `// HOLE 3: …` and `// END HOLE 3`.
//!
//! Outside these blocks a lab and its solution are equal, byte for byte. [`blank`] empties the blocks,
//! so that two trees can be compared.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// One hole in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Its number, unique in the chapter, from 1.
    pub number: u32,
    /// The text of the marker after the number: `publish and wait for the broker's confirm.`
    pub task: String,
    /// The line of `// HOLE n`, counted from 1.
    pub first_line: usize,
    /// The line of `// END HOLE n`, counted from 1.
    pub last_line: usize,
}

/// A hole, and the file that contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The source file.
    pub file: PathBuf,
    /// The hole in it.
    pub hole: Hole,
}

/// What is wrong with a file's markers. Line numbers start at 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MarkerError {
    /// A comment starts like a marker, but is not one.
    #[error("line {line}: `{text}` is not a marker: write `// HOLE 3: task` or `// END HOLE 3`")]
    Malformed {
        /// The line's number.
        line: usize,
        /// The line's text.
        text: String,
    },
    /// A hole begins inside another.
    #[error("line {line}: HOLE {inner} begins before END HOLE {outer}")]
    Nested {
        /// The line's number.
        line: usize,
        /// The hole that begins too early.
        inner: u32,
        /// The hole that is still open.
        outer: u32,
    },
    /// An end without its beginning.
    #[error("line {line}: END HOLE {number} without a HOLE {number} before it")]
    NotBegun {
        /// The line's number.
        line: usize,
        /// The hole's number.
        number: u32,
    },
    /// A beginning without its end.
    #[error("line {line}: HOLE {number} has no END HOLE {number}")]
    NotEnded {
        /// The line where it begins.
        line: usize,
        /// The hole's number.
        number: u32,
    },
    /// A number used twice.
    #[error("line {line}: HOLE {number} appears a second time")]
    Duplicate {
        /// The line of the second one.
        line: usize,
        /// The hole's number.
        number: u32,
    },
}

/// Why the holes of a tree cannot be read.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A file's markers are wrong.
    #[error("{}, {error}", file.display())]
    Marker {
        /// The source file.
        file: PathBuf,
        /// Its error.
        error: MarkerError,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
}

/// The kinds of lines.
enum Line<'a> {
    Begin(u32, &'a str),
    End(u32),
    Malformed,
    Code,
}

fn classify(line: &str) -> Line<'_> {
    let Some(comment) = line.trim().strip_prefix("//").map(str::trim) else {
        return Line::Code;
    };
    if let Some(rest) = comment.strip_prefix("END HOLE") {
        return match rest.trim().parse() {
            Ok(number) => Line::End(number),
            Err(_) => Line::Malformed,
        };
    }
    let Some(rest) = comment.strip_prefix("HOLE ") else {
        return Line::Code;
    };
    let (number, task) = rest.split_once(':').unwrap_or((rest, ""));
    match number.trim().parse() {
        Ok(number) => Line::Begin(number, task.trim()),
        Err(_) => Line::Malformed,
    }
}

/// The holes of one source file, in the order of the file.
///
/// # Errors
/// The first wrong marker.
pub fn parse(source: &str) -> Result<Vec<Hole>, MarkerError> {
    let mut holes: Vec<Hole> = Vec::new();
    let mut open: Option<Hole> = None;
    for (index, text) in source.lines().enumerate() {
        let line = index + 1;
        match (classify(text), open.take()) {
            (Line::Malformed, _) => {
                let text = text.trim().to_owned();
                return Err(MarkerError::Malformed { line, text });
            }
            (Line::Begin(inner, _), Some(outer)) => {
                let outer = outer.number;
                return Err(MarkerError::Nested { line, inner, outer });
            }
            (Line::Begin(number, task), None) => {
                if holes.iter().any(|hole| hole.number == number) {
                    return Err(MarkerError::Duplicate { line, number });
                }
                open = Some(Hole {
                    number,
                    task: task.to_owned(),
                    first_line: line,
                    last_line: line,
                });
            }
            (Line::End(number), Some(hole)) if hole.number == number => holes.push(Hole {
                last_line: line,
                ..hole
            }),
            (Line::End(number), _) => return Err(MarkerError::NotBegun { line, number }),
            (Line::Code, hole) => open = hole,
        }
    }
    match open {
        None => Ok(holes),
        Some(hole) => Err(MarkerError::NotEnded {
            line: hole.first_line,
            number: hole.number,
        }),
    }
}

/// `source` with empty holes. The marker lines stay.
///
/// # Errors
/// The first wrong marker.
pub fn blank(source: &str) -> Result<String, MarkerError> {
    let holes = parse(source)?;
    let inside = |line: usize| {
        holes
            .iter()
            .any(|hole| hole.first_line < line && line < hole.last_line)
    };
    Ok(source
        .split_inclusive('\n')
        .enumerate()
        .filter(|(index, _)| !inside(index + 1))
        .map(|(_, line)| line)
        .collect())
}

/// `source` with its hole `number` filled as in `filled`. The marker lines stay; so does `source` where
/// one of the two has no such hole.
///
/// # Errors
/// The first wrong marker of either.
pub fn fill(source: &str, filled: &str, number: u32) -> Result<String, MarkerError> {
    let [ours, theirs] = [parse(source)?, parse(filled)?].map(|holes| {
        let mut holes = holes.into_iter();
        holes.find(|hole| hole.number == number)
    });
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Ok(source.to_owned());
    };
    let lines =
        |text: &'_ str| -> Vec<String> { text.split_inclusive('\n').map(str::to_owned).collect() };
    let (source, filled) = (lines(source), lines(filled));
    // Lines are counted from 1, and the last one is the end marker's.
    let before = &source[..ours.first_line];
    let inside = &filled[theirs.first_line..theirs.last_line - 1];
    let after = &source[ours.last_line - 1..];
    Ok([before, inside, after].concat().concat())
}

/// Whether `hole` of `source` is still as the student gets it: with a `todo!` of its number, or with
/// naive code, marked by a comment `Naive:`.
#[must_use]
pub fn is_open(source: &str, hole: &Hole) -> bool {
    let todo = format!("todo!(\"HOLE {}", hole.number);
    let inside = source.lines().skip(hole.first_line);
    let mut inside = inside.take(hole.last_line.saturating_sub(hole.first_line));
    inside.any(|line| line.contains(&todo) || line.contains("Naive:"))
}

/// The files under `dir`, relative to it, sorted by name.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, TreeError> {
    fn walk(dir: &Path, top: &Path, found: &mut Vec<PathBuf>) -> Result<(), TreeError> {
        let unreadable = |source| TreeError::Unreadable {
            path: dir.to_owned(),
            source,
        };
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                walk(&path, top, found)?;
            } else {
                found.push(path.strip_prefix(top).unwrap_or(&path).to_owned());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found)?;
    found.sort();
    Ok(found)
}

/// The Rust sources under `dir` with their text.
fn sources(dir: &Path) -> Result<Vec<(PathBuf, String)>, TreeError> {
    let rust = |file: &PathBuf| file.extension().is_some_and(|ext| ext == "rs");
    files(dir)?
        .into_iter()
        .filter(rust)
        .map(|file| {
            let path = dir.join(file);
            match fs::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(source) => Err(TreeError::Unreadable { path, source }),
            }
        })
        .collect()
}

/// All holes of the sources under `src`, by number.
///
/// # Errors
/// A wrong marker, or two holes of the same number.
pub fn in_tree(src: &Path) -> Result<Vec<Place>, TreeError> {
    let mut places: Vec<Place> = Vec::new();
    for (file, text) in sources(src)? {
        let marker = |error| TreeError::Marker {
            file: file.clone(),
            error,
        };
        for hole in parse(&text).map_err(marker)? {
            if places.iter().any(|place| place.hole.number == hole.number) {
                return Err(marker(MarkerError::Duplicate {
                    line: hole.first_line,
                    number: hole.number,
                }));
            }
            places.push(Place {
                file: file.clone(),
                hole,
            });
        }
    }
    places.sort_by_key(|place| place.hole.number);
    Ok(places)
}

/// The numbers of the holes under `src` that are still open (see [`is_open`]), in their order. A broken
/// marker elsewhere hides no hole of another file.
#[must_use]
pub fn open_in_tree(src: &Path) -> Vec<u32> {
    let mut open = Vec::new();
    for (_, text) in sources(src).unwrap_or_default() {
        let holes = parse(&text).unwrap_or_default();
        let still = holes.iter().filter(|hole| is_open(&text, hole));
        open.extend(still.map(|hole| hole.number));
    }
    open.sort_unstable();
    open
}

/// The file and line where hole `number` begins in the sources under `src`.
///
/// More tolerant than [`in_tree`]: it finds the line even if the student has deleted an end marker or
/// broken another file.
///
/// # Errors
/// When the sources cannot be read.
pub fn locate(src: &Path, number: u32) -> Result<Option<(PathBuf, usize)>, TreeError> {
    for (file, text) in sources(src)? {
        let begins = |line: &str| matches!(classify(line), Line::Begin(n, _) if n == number);
        if let Some(index) = text.lines().position(begins) {
            return Ok(Some((file, index + 1)));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    const TWO: &str = "fn a() {\n    // HOLE 1: connect.\n    todo!()\n    // END HOLE 1\n}\n\
                       // HOLE 2\n// END HOLE 2\n";

    #[test]
    fn a_hole_has_a_number_a_task_and_lines() {
        let holes = parse(TWO).unwrap();
        assert_eq!(holes.len(), 2);
        assert_eq!((holes[0].number, holes[0].task.as_str()), (1, "connect."));
        assert_eq!((holes[0].first_line, holes[0].last_line), (2, 4));
        assert_eq!((holes[1].number, holes[1].task.as_str()), (2, ""));
        assert_eq!((holes[1].first_line, holes[1].last_line), (6, 7));
    }

    #[test]
    fn blank_changes_nothing_outside_holes() {
        let blanked = blank(TWO).unwrap();
        assert_eq!(blanked, TWO.replace("    todo!()\n", ""));
        assert_eq!(blank("a\r\n\r\nb").unwrap(), "a\r\n\r\nb");
    }

    #[test]
    fn a_hole_is_filled_between_its_markers() {
        let filled =
            "fn a() {\n    // HOLE 1: connect.\n    b()?;\n    c();\n    // END HOLE 1\n}\n";
        let now = fill(TWO, filled, 1).unwrap();
        assert_eq!(now, TWO.replace("    todo!()\n", "    b()?;\n    c();\n"));
        assert_eq!(fill(&now, TWO, 1).unwrap(), TWO);
        let other = "x\n// HOLE 2\ny\n// END HOLE 2";
        assert_eq!(
            fill(TWO, other, 2).unwrap(),
            TWO.replace("// HOLE 2\n//", "// HOLE 2\ny\n//")
        );
        assert_eq!(
            fill(TWO, other, 1).unwrap(),
            TWO,
            "there is none to take it from"
        );
        assert!(fill("// HOLE 1\n", TWO, 1).is_err());
    }

    #[test]
    fn an_error_names_its_line() {
        let error = |source| parse(source).unwrap_err().to_string();
        assert_eq!(
            error("// HOLE 1\n// HOLE 2\n"),
            "line 2: HOLE 2 begins before END HOLE 1"
        );
        assert_eq!(
            error("x\n// HOLE 1\nx\n"),
            "line 2: HOLE 1 has no END HOLE 1"
        );
        assert_eq!(
            error("// END HOLE 1\n"),
            "line 1: END HOLE 1 without a HOLE 1 before it"
        );
        assert_eq!(
            error("// HOLE 1\n// END HOLE 2\n"),
            "line 2: END HOLE 2 without a HOLE 2 before it"
        );
        assert_eq!(
            error("// HOLE 1\n// END HOLE 1\n// HOLE 1\n// END HOLE 1\n"),
            "line 3: HOLE 1 appears a second time"
        );
        for malformed in ["// HOLE one", "// HOLE 3 is hard", "// END HOLE", "//HOLE "] {
            let found = parse(malformed);
            if malformed == "//HOLE " {
                assert_eq!(
                    found,
                    Ok(vec![]),
                    "without a number it is an ordinary comment"
                );
            } else {
                assert!(
                    matches!(found, Err(MarkerError::Malformed { line: 1, .. })),
                    "{malformed}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_hole_number_is_unique_in_a_tree() {
        let tree = Scratch::new("holes");
        tree.write("main.rs", "// HOLE 2\n// END HOLE 2\n");
        tree.write("deep/a.rs", "\n// HOLE 1: x\n// END HOLE 1\n");
        tree.write("notes.txt", "// HOLE 7\n");
        let places = in_tree(tree.path()).unwrap();
        let numbers: Vec<u32> = places.iter().map(|place| place.hole.number).collect();
        assert_eq!(numbers, [1, 2]);
        let at = locate(tree.path(), 1).unwrap().unwrap();
        assert_eq!(at, (tree.path().join("deep/a.rs"), 2));
        assert_eq!(locate(tree.path(), 3).unwrap(), None);

        tree.write("z.rs", "// HOLE 1\n// END HOLE 1\n");
        let error = in_tree(tree.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("z.rs, line 1: HOLE 1 appears a second time"),
            "{error}"
        );
    }

    #[test]
    fn a_hole_without_end_marker_is_located() {
        let tree = Scratch::new("holes");
        tree.write("main.rs", "fn main() {\n    // HOLE 1: x\n    done();\n}\n");
        let at = locate(tree.path(), 1).unwrap();
        assert_eq!(at, Some((tree.path().join("main.rs"), 2)));
    }
}
