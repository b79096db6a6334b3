//! What a chapter's checks are written with: [`Lab`], [`Service`], what is expected of them,
//! what became of a message, and the run that reports it all.
//!
//! It knows no chapter. Start reading at [`Lab`]; `run` is the `main` of every
//! `tests/checks.rs`.
//!
//! ```no_run
//! use anyhow::Context;
//! use check::{Check, Lab, Outcome, Seen, check, expect};
//!
//! /// A check reads like the sentence that it prints.
//! async fn killed_consumer(lab: Lab) -> Outcome {
//!     let consumer = lab.start("consumer").await?;
//!     // While its database is locked, it cannot finish what it has.
//!     let locked = consumer.lock_database()?;
//!     lab.publish("jobs", [("a job", lapin::BasicProperties::default())]).await?;
//!     consumer.kill().await?;
//!     drop(locked);
//!
//!     consumer.start().await?;
//!     let why = "the broker redelivers what a dead consumer has not acked";
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
//! A check ends early for one of two reasons: a [`Failure`] of the services, which [`expect`] and
//! [`Lab::eventually`] make, or trouble of the lab's own, an `anyhow::Error`: then the verdict is
//! *unknown*.
//!
//! # What is at hand
//!
//! | for | on [`Lab`] | on [`Service`] |
//! |---|---|---|
//! | starting | `start`, `service`, `instance` (a name and arguments of its own) | `start`, `launch`, `begin`, `run` (to its own end), `ends_well`, `with`, `at` (a login and a vhost), `logs_in` (the same as `BROKER_…`) |
//! | waiting | `eventually`, `each_once`, `consumers`, `delivered`, `drained`; `span` and `between` for a bound on time | `says`, `finished`, `ended`; with exit code 0: `finishes_well`, `stops_well` |
//! | seeing | `journal`, `queue`, `depth`, `bindings`, `take` | `get`, `post`, `rows`, `output`, `memory`, `threads` |
//! | doing | `publish`, `publish_to`, `declare_queue`, `delete_queue`, `user`, `topology`, `rights`, `own_broker`, `kill_broker` | `kill`, `freeze`, `terminate`, `lock_database`, `tap` |
//!
//! The rules for a check stand in `.github/CONTRIBUTING.md`.

mod broker_actions;
mod database;
mod each_once;
mod lab;
mod lifecycle;
mod outcome;
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

pub use broker::access::{Grant, Grants, Login};
pub use broker_actions::Rights;
pub use database::{Locked, Row, rows};
pub use explain::{Finding, Topic, fate, fate_at, short, told};
pub(crate) use lab::LabConfig;
pub use lab::{DEADLINE, Lab, PATIENCE};
pub use outcome::{Condition, Expectation, Failure, Outcome, Seen, Stop, expect, fail};
pub use process::{Exit, Port};
pub use response::Response;
pub use service::Service;
pub use silent_broker::SilentBroker;
pub use span::Span;
pub use wiretap;

type Body = Box<dyn Fn(Lab) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// One check: its name on the command line, the sentence it prints, and what it does.
pub struct Check {
    /// What `--only` takes and its folder is called: `killed-consumer`.
    pub name: String,
    /// What holds when it passes: `a killed consumer loses nothing`.
    pub says: &'static str,
    /// The hole to look at when it fails and nothing points to another one.
    pub hole: u32,
    /// Whether it starts before the others, because it takes the longest.
    pub(crate) early: bool,
    /// Whether it takes none of the places for checks that run at once.
    pub(crate) patient: bool,
    /// Whether a run passes without it, as it is about an optional hole.
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

    /// Starts this check before the others, wherever it stands in the report: for the one
    /// that decides how long a run takes.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Starts this check before the others, and beside as many of them as ever: for one that
    /// does next to nothing but wait, as for a heartbeat that does not come.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.patient = true;
        self.early()
    }

    /// Makes this check one about an optional hole: it is run and shown, and while it fails
    /// it counts for nothing.
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

/// One chapter's checks, and what they need to know of it.
#[derive(Debug)]
pub struct Checks {
    /// Whether its services talk to a broker.
    pub broker: bool,
    /// The hole in which the student deals with a topic.
    pub hole_for: fn(Topic) -> u32,
    /// In the order in which they are reported.
    pub all: Vec<Check>,
}
