//! When what is recorded is in the file.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use proof::Scratch;
use wiretap::{Event, Frame, Journal, LinkEvent, Method, Side};

struct Story {
    journal: Journal,
    file: PathBuf,
    _scratch: Scratch,
}

impl Story {
    fn new() -> Self {
        let scratch = Scratch::new("journal");
        let journal = Journal::create(scratch.path(), "02", "written", 1).unwrap();
        Self {
            file: scratch.path().join("journal.jsonl"),
            journal,
            _scratch: scratch,
        }
    }

    fn frame(&self) {
        self.journal.record(Event::Amqp(Frame {
            service: "history".to_owned(),
            connection: 1,
            from: Side::Client,
            channel: 1,
            method: Method::ChannelOpen,
            args: serde_json::json!({}),
            message: None,
        }));
    }

    /// How many lines are in the file, its head not counted.
    fn written(&self) -> usize {
        fs::read_to_string(&self.file).unwrap().lines().count() - 1
    }
}

#[test]
fn a_frame_is_written_without_anybody_asking() {
    let story = Story::new();
    story.frame();
    let deadline = Instant::now() + Duration::from_secs(10);
    while story.written() == 0 {
        assert!(Instant::now() < deadline, "never written");
        thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn what_the_check_does_is_written_at_once_and_all_before_it() {
    let story = Story::new();
    story.frame();
    story.journal.note("broker killed");
    assert_eq!(story.written(), 2);
    story.frame();
    story.journal.record(Event::Link {
        service: "history".to_owned(),
        what: LinkEvent::Cut,
    });
    assert_eq!(story.written(), 4);
}

#[test]
fn a_check_that_reads_the_file_sees_all() {
    let story = Story::new();
    for count in 1..=100 {
        story.frame();
        assert_eq!(story.journal.path(), story.file);
        assert_eq!(story.written(), count);
    }
}

#[test]
fn what_is_taken_out_is_in_the_file_once() {
    let story = Story::new();
    story.frame();
    story.frame();
    assert_eq!(story.journal.take().len(), 2);
    assert_eq!(story.written(), 2);
    story.frame();
    assert_eq!(story.journal.take().len(), 1);
    assert!(story.journal.take().is_empty());
    story.journal.write();
    assert_eq!(story.written(), 3);
}
