//! Finds out what a program printed last, for a failure's explanation.

use super::{Role, Testbed};

/// How many lines of a log are shown.
const LINES: usize = 6;

/// What one of the programs printed last.
pub struct LastLines {
    /// The program.
    pub role: Role,
    /// Its last lines; where it came to an open hole, a sentence on the hole.
    pub text: String,
    /// The open hole that it came to.
    pub open_hole: Option<u32>,
}

/// The last lines of both programs, without those that printed nothing.
pub async fn last_lines(testbed: &impl Testbed) -> Vec<LastLines> {
    let mut all = Vec::new();
    for role in Role::ALL {
        let log = testbed.log(role).await.unwrap_or_default();
        let (text, open_hole) = match find_open_hole(&log) {
            Some((hole, text)) => (text, Some(hole)),
            None => (cut(&log), None),
        };
        if !text.is_empty() {
            all.push(LastLines {
                role,
                text,
                open_hole,
            });
        }
    }
    all
}

fn cut(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The number of the open hole that a program came to, and what to tell instead of its backtrace.
fn find_open_hole(log: &str) -> Option<(u32, String)> {
    let (_, hole) = log.split_once("not yet implemented: HOLE ")?;
    let hole = hole.lines().next().unwrap_or(hole);
    let (number, task) = hole.split_once(':').unwrap_or((hole, " no task"));
    let sentence = format!("came to HOLE {number}, which is still open:{task}");
    Some((number.trim().parse().ok()?, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_hole_is_found_in_a_panic() {
        let log =
            "thread main panicked at src/x.rs:1:\nnot yet implemented: HOLE 1: read it\n  0: x";
        let told = "came to HOLE 1, which is still open: read it";
        assert_eq!(find_open_hole(log), Some((1, told.to_owned())));
        assert_eq!(find_open_hole("all is well"), None);
    }
}
