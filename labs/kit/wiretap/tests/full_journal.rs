//! A journal that is flooded. A program of its own, because all journals of a process share the limit.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;

use proof::Scratch;
use wiretap::Journal;

/// More than is written.
const FLOOD: usize = 25_000_000;

#[test]
fn a_flooded_file_ends_and_says_so() {
    let scratch = Scratch::new("flood");
    let journal = Journal::create(scratch.path(), "03", "flood", 1).unwrap();
    let note = "a message ".repeat(1_000);
    for _ in 0..FLOOD / note.len() {
        journal.note(&*note);
    }
    let text = fs::read_to_string(journal.path()).unwrap();
    assert!(
        text.len() > 19_000_000 && text.len() < 21_000_000,
        "{}",
        text.len()
    );
    let last = text.lines().last().unwrap();
    assert!(last.contains("the journals of a run have 20 MB"), "{last}");
    // The check itself knows all.
    assert_eq!(journal.read(<[_]>::len), FLOOD / note.len());
}
