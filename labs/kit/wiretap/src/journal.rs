//! The journal of one check's run: everything that crossed the wire and everything the
//! check did, in order, in memory and as JSON lines.
//!
//! # The file
//! `journal.jsonl`, one JSON object a line. The first line describes the run ([`Head`]):
//! `{"journal":2,"chapter":"02","check":"killed-consumer","seed":1734}`, where `journal` is the
//! version of this schema. Each further line is an [`Entry`]: `t`, the seconds since the run began,
//! `event`, its kind, and that kind's fields as documented on [`Event`]. What happened has a hyphen
//! where its name has two words, and a method has its name in the AMQP specification:
//!
//! ```json
//! {"t":0.51,"event":"service","service":"history","what":"started"}
//! {"t":0.52,"event":"service","service":"history","what":{"ended":{"code":1}}}
//! {"t":0.53,"event":"link","service":"history","what":{"swallows":"client"}}
//! {"t":0.54,"event":"connection","service":"history","connection":1,"what":{"cut-before":"basic.ack"}}
//! {"t":0.55,"event":"check","what":{"note":"the broker has noticed after 2.8 s"}}
//! ```
//!
//! [`read`] gives a file back. A frame is journaled just before it is passed on, so a cause always
//! stands above its effect. Lines are written in batches: after at most 50 ms, and at once when a
//! check does something or ends; none once the journals of a run have 20 MB.

mod recorded;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::event::{CheckEvent, Ending, Entry, Event};
use super::frame::Frame;
use super::{Method, lock};

pub use recorded::{Recorded, Unread, read};

/// How long a line may wait to be written with others. The lines of this time are lost when
/// this process is killed.
const WRITTEN_WITHIN: Duration = Duration::from_millis(50);

/// The most that all journals of this process write to their files together, in bytes. A service that
/// floods the wire must not fill the disk.
const MOST_WRITTEN: usize = 20_000_000;

/// What they have written.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// The version of the schema that [`Journal`] writes and [`read`] reads.
pub const SCHEMA: u32 = 2;

/// Which run a journal is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The chapter's number: `02`.
    pub chapter: String,
    /// The name of the check.
    pub check: String,
    /// The seed of the run's random data.
    pub seed: u64,
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct FirstLine {
    journal: u32,
    #[serde(flatten)]
    head: Head,
}

/// The journal of one check's run. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    head: Head,
    path: PathBuf,
    /// Whether nothing more is added.
    ended: AtomicBool,
    /// Entries added since the last look. The lock is held for a moment only, so that neither a
    /// reader nor the disk delays the relay.
    fresh: Mutex<Vec<Entry>>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    entries: Vec<Entry>,
    /// How many of them are in the file.
    written: usize,
    /// Whether the file gets no more.
    full: bool,
    file: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.write();
    }
}

impl Inner {
    /// All entries so far.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        let mut kept = lock(&self.kept);
        kept.entries.append(&mut lock(&self.fresh));
        kept
    }

    fn write(&self) {
        self.kept().write();
    }
}

impl Kept {
    /// Writes what the file does not have yet.
    fn write(&mut self) {
        let kept = self;
        let fresh = &kept.entries[kept.written..];
        kept.written = kept.entries.len();
        let Some(last) = fresh.last().filter(|_| !kept.full) else {
            return;
        };
        let mut lines = lines(fresh);
        if WRITTEN.fetch_add(lines.len(), Ordering::Relaxed) + lines.len() > MOST_WRITTEN {
            kept.full = true;
            lines = end_of_file(last.t);
        }
        // A full disk must not change what the services see. The verdict needs only the entries
        // in memory, and the runner has found the folder writable at the start.
        let _ = kept.file.write_all(&lines);
    }
}

fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in entries {
        // It never fails: JSON can express every entry.
        if serde_json::to_writer(&mut lines, entry).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}

/// The last line of a file that gets no more.
fn end_of_file(t: f64) -> Vec<u8> {
    let megabytes = MOST_WRITTEN / 1_000_000;
    let note = format!("what follows is not written: the journals of a run have {megabytes} MB");
    let what = CheckEvent::Note(note);
    lines(&[Entry {
        t,
        event: Event::Check { what },
    }])
}

/// Writes new entries for as long as the journal exists.
fn keep_writing(journal: &Weak<Inner>) {
    while let Some(journal) = journal.upgrade() {
        journal.write();
        drop(journal);
        thread::sleep(WRITTEN_WITHIN);
    }
}

impl Journal {
    /// Begins a journal in `dir`, of the run that the other arguments name ([`Head`]).
    ///
    /// # Errors
    /// When the file cannot be created, or the thread that writes it cannot be started.
    pub fn create(dir: &Path, chapter: &str, check: &str, seed: u64) -> Result<Self> {
        let path = dir.join("journal.jsonl");
        let head = Head {
            chapter: chapter.to_owned(),
            check: check.to_owned(),
            seed,
        };
        let first = serde_json::to_string(&FirstLine {
            journal: SCHEMA,
            head: head.clone(),
        })?;
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{first}").with_context(|| format!("cannot write {}", path.display()))?;
        let kept = Kept {
            entries: Vec::new(),
            written: 0,
            full: false,
            file,
        };
        let inner = Arc::new(Inner {
            began: Instant::now(),
            head,
            path,
            ended: AtomicBool::new(false),
            fresh: Mutex::default(),
            kept: Mutex::new(kept),
        });
        let written = Arc::downgrade(&inner);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || keep_writing(&written))
            .context("no thread can be started for a journal")?;
        Ok(Self(inner))
    }

    /// Removes the file, when the run has told nothing: another may have its share of the disk.
    pub fn discard(&self) {
        let path = self.path();
        let length = std::fs::metadata(path).map_or(0, |file| file.len());
        if std::fs::remove_file(path).is_ok() {
            WRITTEN.fetch_sub(usize::try_from(length).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Which run it is of.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// The journal's file, which holds everything recorded so far.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.write();
        &self.0.path
    }

    /// Writes everything recorded so far to the file.
    pub fn write(&self) {
        self.0.write();
    }

    /// Ends the journal with the verdict on the check that `says` this: what the services do while they
    /// are killed is not added.
    pub fn end(&self, says: &str, ending: Ending) {
        let says = says.to_owned();
        self.record(Event::Verdict { says, ending });
        self.0.ended.store(true, Ordering::Relaxed);
    }

    /// Adds an entry, stamped with the time.
    pub fn record(&self, event: Event) {
        let of_a_connection = matches!(
            event,
            Event::Amqp(_) | Event::Http { .. } | Event::Connection { .. }
        );
        self.add(event);
        // Written at once: after a fault of the check's, this process may be killed.
        if !of_a_connection {
            self.write();
        }
    }

    /// Adds an entry, and leaves it to the caller when the file gets it.
    pub(super) fn add(&self, event: Event) {
        if self.0.ended.load(Ordering::Relaxed) {
            return;
        }
        let mut fresh = lock(&self.0.fresh);
        // Under the lock, so that times ascend.
        let t = (self.0.began.elapsed().as_secs_f64() * 1e6).round() / 1e6;
        fresh.push(Entry { t, event });
    }

    /// Adds what the check itself did, for people to read.
    pub fn note(&self, what: impl Into<String>) {
        let what = CheckEvent::Note(what.into());
        self.record(Event::Check { what });
    }

    /// Takes out the entries so far, which are written to the file: for a run without an end, whose
    /// entries nobody asks for again.
    #[must_use]
    pub fn take(&self) -> Vec<Entry> {
        let mut kept = self.0.kept();
        kept.write();
        kept.written = 0;
        std::mem::take(&mut kept.entries)
    }

    /// How many seconds have passed since the run began.
    #[must_use]
    pub fn elapsed(&self) -> f64 {
        self.0.began.elapsed().as_secs_f64()
    }

    /// Gives `look` the entries so far. `look` must not use the journal: it is locked meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.0.kept().entries)
    }

    /// The frames so far that `wanted` accepts, in order.
    #[must_use]
    pub fn frames(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let wanted = |frame: &&Frame| wanted(frame);
        self.read(|entries| frames(entries).filter(wanted).cloned().collect())
    }

    /// When the frames so far that `wanted` accepts crossed the wiretap, in seconds since the
    /// run of the check began, in order.
    #[must_use]
    pub fn times(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<f64> {
        self.read(|entries| {
            let hit = |entry: &&Entry| matches!(&entry.event, Event::Amqp(frame) if wanted(frame));
            entries.iter().filter(hit).map(|entry| entry.t).collect()
        })
    }

    /// The moment at a time of the journal, in seconds since the run of the check began.
    #[must_use]
    pub fn moment(&self, t: f64) -> Instant {
        self.0.began + Duration::from_secs_f64(t)
    }

    /// The frames so far of one service with one method, in order.
    #[must_use]
    pub fn methods(&self, service: &str, method: Method) -> Vec<Frame> {
        self.frames(|frame| frame.service == service && frame.method == method)
    }
}

/// The frames among `entries`, in order.
pub(super) fn frames(entries: &[Entry]) -> impl DoubleEndedIterator<Item = &Frame> {
    entries.iter().filter_map(|entry| match &entry.event {
        Event::Amqp(frame) => Some(frame),
        _ => None,
    })
}
