//! The journal of one check's run: everything that crossed the wire and everything the
//! check did to it, in order, in memory and as JSON lines.
//!
//! # The file
//! `journal.jsonl`, one JSON object a line. The first line describes the run:
//! `{"journal": 1, "chapter": "02", "check": "killed-consumer", "seed": 1734}`, where
//! `journal` is the version of this schema. Each further line is an [`Entry`]: `t`, the
//! seconds since the run began, `event`, which kind it is, and that kind's fields as
//! documented on [`Event`]. A frame is journaled just before it is passed on, so a cause
//! always stands above its effect. Lines are written together: at the latest after 50 ms, and
//! at once when a check does something or ends.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::lock;

/// How long a line may wait for others to be written with it: as much is lost when this
/// process is killed.
const WRITTEN_WITHIN: Duration = Duration::from_millis(50);

/// The version of the schema that [`Journal`] writes.
pub const SCHEMA: u32 = 1;

/// Which end of a relayed connection sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The service under check.
    Client,
    /// What it talks to: the broker, or another service.
    Server,
}

/// The content that follows `basic.publish`, `basic.deliver`, `basic.return` or `basic.get-ok`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The property `message_id`.
    pub id: Option<String>,
    /// The property `content_type`.
    pub content_type: Option<String>,
    /// Whether `delivery_mode` is 2: the broker keeps the message on disk.
    pub persistent: bool,
    /// The property `correlation_id`.
    pub correlation_id: Option<String>,
    /// The property `reply_to`.
    pub reply_to: Option<String>,
    /// The property `headers`: what the application, or the broker, says of the message.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub headers: Value,
    /// The size of the body in bytes.
    pub size: u64,
    /// The first 256 bytes of the body, as text.
    pub body: String,
}

/// One method that crossed the wiretap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frame {
    /// The name of the service whose wiretap saw it: its role, where it has no other.
    pub service: String,
    /// Counts that service's connections from 1.
    pub connection: u32,
    /// Who sent it.
    pub from: Side,
    /// The AMQP channel number.
    pub channel: u16,
    /// The method's name in the AMQP specification: `basic.publish`.
    pub method: &'static str,
    /// The method's arguments that a lesson speaks of.
    pub args: Value,
    /// The content, for the methods that carry one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

impl Frame {
    /// The delivery tag of a deliver, ack, nack or reject.
    #[must_use]
    pub fn tag(&self) -> Option<u64> {
        self.args["delivery_tag"].as_u64()
    }

    /// Whether the boolean argument `name` is set.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.args[name].as_bool().unwrap_or(false)
    }

    /// The message's id, where it carries one.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.message.as_ref()?.id.as_deref()
    }
}

/// What an entry tells of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An AMQP method, with its content where it has one.
    Amqp(Frame),
    /// An HTTP request or response on a relay of chapter 01's kind.
    Http {
        /// The role of the service that sends the requests.
        service: String,
        /// Counts that service's connections from 1.
        connection: u32,
        /// `client` for a request, `server` for a response.
        from: Side,
        /// `POST /viewed` or `200 OK`.
        line: String,
        /// The first 256 bytes of the body, as text.
        body: String,
    },
    /// Something the check did to a service, or that befell it: `started`,
    /// `killed (SIGKILL)`, `frozen (SIGSTOP)`, `thawed (SIGCONT)`, `asked to stop (SIGTERM)`,
    /// `ended: exit code 0`, `ended: SIGABRT`.
    Service {
        /// Its name.
        service: String,
        /// What happened.
        what: String,
    },
    /// Something the check did to a service's link, or that befell it. To one connection:
    /// `opened`, `turned away`, `cut before that basic.ack arrives`,
    /// `not AMQP from here on: passed on unread`, `closed`, `lost: …`. To all: `cut`,
    /// `refuses connections`, `turns connections away`, `delayed by 50 ms`,
    /// `what the service sends is swallowed` (or `half-closed`; or `what is sent to the
    /// service is …`), `restored`.
    Link {
        /// The name of the service whose link it is.
        service: String,
        /// Counts that service's connections from 1; absent when it concerns them all.
        #[serde(skip_serializing_if = "Option::is_none")]
        connection: Option<u32>,
        /// What happened.
        what: String,
    },
    /// Something the check did itself: to the broker, or as a client of a service.
    Check {
        /// What it did.
        what: String,
    },
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Seconds since the run of the check began.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The journal of one check's run. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    path: PathBuf,
    /// What was added since somebody looked. It is locked for a moment only, so that no reader
    /// and no disk holds up the relay.
    fresh: Mutex<Vec<Entry>>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    entries: Vec<Entry>,
    /// How many of them are in the file.
    written: usize,
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
        let kept = &mut *self.kept();
        let mut lines = Vec::new();
        for entry in &kept.entries[kept.written..] {
            // Names and numbers: there is nothing in an entry that JSON has no words for.
            if serde_json::to_writer(&mut lines, entry).is_ok() {
                lines.push(b'\n');
            }
        }
        kept.written = kept.entries.len();
        // A full disk must not change what the services see; the entries in memory still
        // serve the verdict, and the runner has said at the start that the folder is writable.
        let _ = kept.file.write_all(&lines);
    }
}

/// Writes what is added, as long as the journal lasts.
fn keep_writing(journal: &Weak<Inner>) {
    while let Some(journal) = journal.upgrade() {
        journal.write();
        drop(journal);
        thread::sleep(WRITTEN_WITHIN);
    }
}

impl Journal {
    /// Begins a journal in `dir`, with `head` as its first line beside the schema version.
    ///
    /// # Errors
    /// When the file cannot be made there, or no thread be started that writes it.
    pub fn create(dir: &Path, chapter: &str, check: &str, seed: u64) -> Result<Self> {
        let path = dir.join("journal.jsonl");
        let head = serde_json::json!({
            "journal": SCHEMA, "chapter": chapter, "check": check, "seed": seed,
        });
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "{head}").with_context(|| format!("cannot write {}", path.display()))?;
        let kept = Kept {
            entries: Vec::new(),
            written: 0,
            file,
        };
        let inner = Arc::new(Inner {
            began: Instant::now(),
            path,
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

    /// The file it writes, with all in it that was recorded so far.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.write();
        &self.0.path
    }

    /// Puts all that was recorded so far into the file.
    pub fn write(&self) {
        self.0.write();
    }

    /// Adds an entry, stamped with the time.
    pub fn record(&self, event: Event) {
        let of_a_connection = matches!(
            event,
            Event::Amqp(_)
                | Event::Http { .. }
                | Event::Link {
                    connection: Some(_),
                    ..
                }
        );
        {
            let mut fresh = lock(&self.0.fresh);
            // Under the lock, so that times ascend.
            let t = (self.0.began.elapsed().as_secs_f64() * 1e6).round() / 1e6;
            fresh.push(Entry { t, event });
        }
        // What the check does, a fault above all, may be the last that this process does.
        if !of_a_connection {
            self.write();
        }
    }

    /// Adds what the check itself did.
    pub fn note(&self, what: impl Into<String>) {
        self.record(Event::Check { what: what.into() });
    }

    /// Gives `look` the entries so far. It must not ask the journal for anything more.
    pub fn read<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.0.kept().entries)
    }

    /// The AMQP methods so far that `wanted` accepts, in order.
    #[must_use]
    pub fn frames(&self, wanted: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let wanted = |frame: &&Frame| wanted(frame);
        self.read(|entries| frames(entries).filter(wanted).cloned().collect())
    }

    /// When the AMQP methods so far that `wanted` accepts were seen, in seconds since the run
    /// of the check began, in order.
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

    /// The AMQP methods so far of one service with one name.
    #[must_use]
    pub fn methods(&self, service: &str, method: &str) -> Vec<Frame> {
        self.frames(|frame| frame.service == service && frame.method == method)
    }
}

/// The AMQP methods among `entries`, in order.
pub(super) fn frames(entries: &[Entry]) -> impl DoubleEndedIterator<Item = &Frame> {
    entries.iter().filter_map(|entry| match &entry.event {
        Event::Amqp(frame) => Some(frame),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
