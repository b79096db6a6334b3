//! What a chapter's checks are written with: [`Lab`], [`Service`], expectations, and the runner that
//! reports their verdicts.
//!
//! This crate knows no chapter. Start reading at [`Lab`]; `run` is the `main` of every
//! `tests/checks.rs`.
//!
//! ```no_run
//! use anyhow::Context;
//! use check::{Check, Lab, Outcome, Seen, check, expect};
//!
//! /// A check reads like the sentence that it prints.
//! async fn killed_consumer(lab: Lab) -> Outcome {
//!     let consumer = lab.start("consumer").await?;
//!     // While its database is locked, the consumer cannot finish the job.
//!     let locked = consumer.lock_database()?;
//!     lab.publish("jobs", [("a job", lapin::BasicProperties::default())]).await?;
//!     consumer.kill().await?;
//!     drop(locked);
//!
//!     consumer.start().await?;
//!     let why = "the broker redelivers the unacked messages of a dead consumer";
//!     lab.eventually("queue `jobs` is empty", why, async || {
//!         let queue = lab.queue("jobs").await?.context("no queue")?;
//!         let left = queue.ready + queue.unacked;
//!         Ok(Seen::when(left == 0, || format!("{left} left in it")))
//!     })
//!     .await?;
//!     let done = consumer.rows("jobs")?.len();
//!     expect(done == 1)
//!         .or("the job done once", format!("done {done} times"))
//!         .because("a redelivered job is the same job")
//! }
//!
//! let listed: Check = check!(killed_consumer, HOLE 5, "a killed consumer loses nothing");
//! assert_eq!(listed.name, "killed-consumer");
//! ```
//!
//! A check ends early for one of two reasons. A [`Failure`] of the services comes from [`expect`] or
//! [`Lab::eventually`]. An `anyhow::Error` is trouble of the lab itself: the verdict is *unknown*.
//!
//! # What a check can do
//!
//! | for | on [`Lab`] | on [`Service`] |
//! |---|---|---|
//! | starting | `start`, `service`, `instance` (a name and arguments of its own) | `start`, `launch`, `begin`, `run` (to its own end), `ends_well`, `with`, `at` (a login and a vhost), `logs_in` (the same as `BROKER_…`) |
//! | waiting | `eventually`, `each_once`, `consumers`, `delivered`, `drained`; `span` and `between` for a bound on time | `says`, `finished`, `ended`; with exit code 0: `finishes_well`, `stops_well` |
//! | seeing | `journal`, `queue`, `depth`, `bindings`, `take` | `get`, `post`, `rows`, `output`, `memory`, `threads` |
//! | doing | `publish`, `publish_to`, `declare_queue`, `delete_queue`, `user`, `topology`, `rights`, `own_broker`, `kill_broker` | `kill`, `freeze`, `terminate`, `lock_database`, `tap` |
//!
//! `.github/CONTRIBUTING.md` has the rules for a check.

mod broker_actions;
mod database;
mod each_once;
mod lab;
mod last_error;
mod lifecycle;
mod limits;
mod own_frame;
mod own_queue;
mod refusal;
mod requests;
mod response;
pub mod run;
mod service;
mod silent_broker;
mod span;
mod wait;

use std::future::Future;
use std::pin::Pin;

use course::report::Waiting;

pub use broker::access::{Grant, Grants, Login};
pub use broker_actions::Rights;
pub use database::{Locked, Row, rows};
pub use explain::{Finding, Topic, confirms, fate, fate_at, http_fate, loses_messages, short};
pub(crate) use lab::LabConfig;
pub use lab::{DEADLINE, Lab, PATIENCE};
pub use limits::LONGEST;
pub use process::{Change, Exit, Port};
pub use response::Response;
pub use service::Service;
pub use silent_broker::SilentBroker;
pub use span::Span;
pub use verdict::{Condition, Expectation, Failure, Outcome, Seen, Stop, expect, fail};
pub use wiretap;

type Body = Box<dyn Fn(Lab) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// One check: its name on the command line, the sentence it prints, and what it does.
pub struct Check {
    /// The name for `--only` and for the folder of its traces: `killed-consumer`.
    pub name: String,
    /// What holds when it passes: `a killed consumer loses nothing`.
    pub says: &'static str,
    /// The last hole that must be filled for it to pass; also the hole to look at when the failure
    /// names no other.
    pub hole: u32,
    /// Whether it starts before the others, because it takes the longest.
    pub(crate) early: bool,
    /// Whether it runs beside the limited number of checks that run at once.
    pub(crate) patient: bool,
    /// Whether it is about an optional hole: then a run can pass without it.
    pub(crate) optional: bool,
    pub(crate) body: Body,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish()
    }
}

impl Check {
    /// A check that runs `body`. The name is the function's, with hyphens.
    pub fn new<F>(
        name: &str,
        says: &'static str,
        hole: u32,
        body: impl Fn(Lab) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = Outcome> + 'static,
    {
        Self {
            name: name.replace('_', "-"),
            says,
            hole,
            early: false,
            patient: false,
            optional: false,
            body: Box::new(move |lab| Box::pin(body(lab))),
        }
    }

    /// Starts this check before the others, whatever its place in the report: for the longest
    /// check, which decides how long a run takes.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Starts this check before the others, and does not count it among the checks that run at
    /// once: for a check that mostly waits, for example for a missing heartbeat.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self.early()
    }

    /// What a report says of it where it was not run.
    fn waiting(&self) -> Waiting {
        Waiting {
            check: self.name.clone(),
            says: self.says.to_owned(),
            hole: self.hole,
            optional: self.optional,
        }
    }

    /// Marks this check as one about an optional hole: it runs and is shown, but its failure
    /// does not fail the run.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// Names a check after its function: `check!(killed_consumer, HOLE 4, "a killed consumer …")`.
#[macro_export]
macro_rules! check {
    ($body:ident, HOLE $hole:literal, $says:literal) => {
        $crate::Check::new(stringify!($body), $says, $hole, $body)
    };
}

/// The checks of one chapter, and what the runner must know about the chapter.
#[derive(Debug)]
pub struct Checks {
    /// Whether its services talk to a broker.
    pub broker: bool,
    /// The hole for each topic of a finding.
    pub hole_for: fn(Topic) -> u32,
    /// All checks, in the order of the report.
    pub all: Vec<Check>,
}
