//! The journal's file: when it has what is recorded, how that stands there, and how it is read back.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod damaged;
mod in_the_file;
mod strategy;
mod written;

use std::fs;
use std::path::Path;

use proof::Scratch;
use wiretap::journal::{Head, Recorded, read};
use wiretap::{CheckEvent, Entry, Event, Journal};

fn head() -> Head {
    Head {
        chapter: "02".to_owned(),
        check: "read".to_owned(),
        seed: u64::MAX,
    }
}

/// The first line of a file, as the journal writes it.
fn first_line() -> Vec<u8> {
    let (scratch, head) = (Scratch::new("first-line"), head());
    let journal = Journal::create(scratch.path(), &head.chapter, &head.check, head.seed);
    fs::read(journal.unwrap().path()).unwrap()
}

/// The entries' lines, as the journal writes them.
fn lines(entries: &[Entry]) -> Vec<u8> {
    let line = |entry| [serde_json::to_vec(entry).unwrap(), b"\n".to_vec()].concat();
    entries.iter().flat_map(line).collect()
}

/// Reads a file with these bytes.
fn read_bytes(bytes: &[u8]) -> anyhow::Result<Recorded> {
    let scratch = Scratch::new("recorded");
    let file = scratch.path().join("journal.jsonl");
    fs::write(&file, bytes).unwrap();
    read(&file)
}

/// The error of a file with these bytes.
fn error(bytes: &str) -> String {
    format!("{:#}", read_bytes(bytes.as_bytes()).unwrap_err())
}

fn note(t: f64) -> Entry {
    let what = CheckEvent::Note("so".to_owned());
    let event = Event::Check { what };
    Entry { t, event }
}

#[test]
fn a_file_that_is_no_journal_says_what_to_do() {
    let error = error;
    let missing = format!(
        "{:#}",
        read(Path::new("/nowhere/journal.jsonl")).unwrap_err()
    );
    assert!(
        missing.starts_with("cannot open /nowhere/journal.jsonl: give the path"),
        "{missing}"
    );
    let folder = format!("{:#}", read(Path::new("/")).unwrap_err());
    assert!(
        folder.contains("line 1 and what follows cannot be read"),
        "{folder}"
    );
    for (text, why) in [
        ("", "line 1 is missing: the file is empty"),
        ("\n", "line 1 is not JSON: EOF"),
        ("{\"journal\":", "line 1 is cut off"),
        (
            "{}\n",
            "line 1 is not the head of a journal: missing field `journal`",
        ),
        (
            "{\"journal\":2}\n",
            "line 1 is not the head of a journal: missing field `chapter`",
        ),
        (
            "{\"journal\":1}\n",
            "line 1 says version 1, and this lab reads 2",
        ),
        (
            "{\"journal\":3,\"of\":[]}\n",
            "line 1 says version 3, and this lab reads 2",
        ),
        (&"x".repeat(3 << 20), "line 1 is longer than 1 MiB"),
    ] {
        let error = error(text);
        assert!(error.contains(why), "{error}");
        assert!(
            error.ends_with(". Run its check again to write a new one"),
            "{error}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said_with_its_number() {
    let entry = String::from_utf8(lines(&[note(3.0), note(2.5)])).unwrap();
    let rest = [
        "{\"t\":4,\"event\":\"amqp\",\"service\":\"x\"}",
        "{\"t\":4,\"event\":\"eaten\"}",
        "{\"t\":4",
        "",
        "{\"t\":5.0,",
    ];
    let text = entry + &rest.join("\n");
    let recorded = read_bytes(&[&*first_line(), text.as_bytes()].concat()).unwrap();
    assert_eq!(recorded.head, head());
    assert_eq!(recorded.entries, [note(3.0), note(2.5)]);
    let why: Vec<&str> = recorded.unread.iter().map(|one| &*one.why).collect();
    assert_eq!(
        why,
        [
            "line 3 is out of order: its time is 2.5 s, after 3 s",
            "line 4 is not an entry of a journal: missing field `connection`",
            "line 5 is not an entry of a journal: unknown variant `eaten`, expected one of `amqp`, \
             `http`, `service`, `link`, `connection`, `check`, `verdict`",
            "line 6 is not JSON: EOF while parsing an object",
            "line 7 is not JSON: EOF while parsing a value",
            "line 8 is cut off: its run was killed, or still goes on",
        ]
    );
    let numbers = recorded.unread.iter().map(|one| one.line);
    assert!(numbers.eq(3..=8));
}
