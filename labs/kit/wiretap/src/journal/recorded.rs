//! Reads a journal's file back. A file may have been cut off, edited or damaged: what can be read is
//! given, and the rest is named.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::error::Category;

use super::{FirstLine, Head, SCHEMA};
use crate::event::Entry;

/// The longest line that is read, in bytes. The journal's own are far shorter: it keeps 256 bytes of a
/// body, and a frame (128 KiB, unless the two sides agree on more) limits the headers.
const LONGEST: usize = 1 << 20;

/// What a journal's file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Which run it is of.
    pub head: Head,
    /// The entries, in the order of the file.
    pub entries: Vec<Entry>,
    /// What is wrong with the file, in the order of its lines.
    pub unread: Vec<Unread>,
}

/// A line that could not be read, or an entry with an earlier time than the entry above it. Such an
/// entry is among the entries, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Counts the lines of the file from 1, which is the head.
    pub line: usize,
    /// The line's number and what is wrong with it, for people to read.
    pub why: String,
}

/// Reads a journal's file. A damaged line costs that line only, and is reported. The file of a run
/// that is still going on can be read, too.
///
/// # Errors
/// When the file cannot be opened, or its first line is not the head of a journal of version
/// [`SCHEMA`].
// Inlined, so that what derives from the events to read them is compiled in the few programs that do,
// and not here, optimised, in every first build.
#[inline]
pub fn read(path: &Path) -> Result<Recorded> {
    let shown = path.display();
    let file = File::open(path).with_context(|| {
        format!("cannot open {shown}: give the path of a journal.jsonl, as a check prints it")
    })?;
    let mut lines = Lines {
        file: BufReader::new(file),
        failed: false,
    };
    let first = lines.next();
    let first = first.unwrap_or(Err("is missing: the file is empty".to_owned()));
    let head = first.and_then(|line| head(&line)).map_err(|why| {
        anyhow!("{shown} is not a journal that can be read: line 1 {why}. Run its check again to write a new one")
    })?;
    let mut recorded = Recorded {
        head,
        entries: Vec::new(),
        unread: Vec::new(),
    };
    let mut before = 0.0;
    for (number, line) in (2..).zip(lines) {
        let why = match line.and_then(|line| parsed::<Entry>(&line, "an entry of a journal")) {
            Err(why) => why,
            Ok(entry) => {
                let (t, above) = (entry.t, std::mem::replace(&mut before, entry.t));
                recorded.entries.push(entry);
                if t >= above {
                    continue;
                }
                format!("is out of order: its time is {t} s, after {above} s")
            }
        };
        recorded.unread.push(Unread {
            line: number,
            why: format!("line {number} {why}"),
        });
    }
    Ok(recorded)
}

/// The lines of a file, each with its line feed, or else why it cannot be read.
struct Lines<R> {
    file: R,
    /// Whether reading has failed. It would fail again, without end.
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    /// The next line; `None` at the end of the file. A line that is too long is not kept.
    fn read(&mut self) -> io::Result<Option<Result<Vec<u8>, String>>> {
        let mut line = Vec::new();
        let limit = LONGEST as u64 + 1;
        let length = (&mut self.file).take(limit).read_until(b'\n', &mut line)?;
        if length > LONGEST && !line.ends_with(b"\n") {
            self.file.skip_until(b'\n')?;
            return Ok(Some(Err("is longer than 1 MiB".to_owned())));
        }
        Ok((length > 0).then_some(Ok(line)))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        self.read().unwrap_or_else(|error| {
            self.failed = true;
            Some(Err(format!("and what follows cannot be read: {error}")))
        })
    }
}

fn head(line: &[u8]) -> Result<Head, String> {
    #[derive(Deserialize)]
    struct Version {
        journal: u32,
    }
    // The version first: another one's head may have other fields.
    let Version { journal } = parsed(line, "the head of a journal")?;
    if journal != SCHEMA {
        return Err(format!(
            "says version {journal}, and this lab reads {SCHEMA}"
        ));
    }
    parsed(line, "the head of a journal").map(|first: FirstLine| first.head)
}

/// The line as `T`, or why it is not `what`.
fn parsed<T: for<'de> Deserialize<'de>>(line: &[u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = error.to_string().replace(&place, "");
        match error.classify() {
            Category::Data => format!("is not {what}: {reason}"),
            Category::Eof if !line.ends_with(b"\n") => {
                "is cut off: its run was killed, or still goes on".to_owned()
            }
            _ => format!("is not JSON: {reason}"),
        }
    })
}
