//! What a run is to do, and what it leaves behind.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use crate::fault::{Fault, Step};
use crate::scenario::Scenario;
use crate::slow_writes::SLOW;

/// What a run has shown to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// An operation was answered with success, and its effect is not there.
    Lost,
    /// An effect is there twice.
    Duplicated,
    /// An effect is there that nobody asked for.
    Unexpected,
    /// It did not come to rest.
    Stuck,
    /// A service ended by itself.
    Died,
    /// A success was answered before the broker had confirmed it.
    Lied,
}

impl Trouble {
    /// As a report says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Unexpected => "unexpected",
            Self::Stuck => "stuck",
            Self::Died => "died",
            Self::Lied => "lied",
        }
    }
}

/// What a clean run has passed, and how it ended.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// How often each step came, from the first operation on.
    pub passed: BTreeMap<(String, &'static str), (Step, usize)>,
    /// How many consumers each queue has at the end; those of reply queues are under one name.
    pub consumers: BTreeMap<String, u64>,
}

/// A promise that a service has made.
#[derive(Debug, Clone)]
pub struct Promise {
    /// What names it in a table.
    pub mark: String,
    /// When its answer came, in seconds since the run began.
    pub answered: f64,
    /// Its kind: not every role wants it.
    pub kind: String,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The chapter's scenario.
    pub scenario: Scenario,
    /// The faults.
    pub faults: Vec<Fault>,
    /// How many of its operations.
    pub operations: usize,
    /// The roles that are left out.
    pub without: Vec<&'static str>,
    /// How the clean run ended; `None` for the clean run.
    pub baseline: Option<Rc<Baseline>>,
}

impl Plan {
    /// How much longer its run may take, because two rows are written slowly.
    #[must_use]
    pub fn slowness(&self) -> Duration {
        let points = self.faults.iter().map(|fault| &fault.point);
        let commits = points.filter(|point| point.step == Step::Commit);
        commits.map(|_| 2 * SLOW).sum()
    }
}

/// What a run leaves behind.
#[derive(Debug, Default)]
pub struct Record {
    /// The faults whose points were reached.
    pub reached: RefCell<Vec<(Fault, f64)>>,
    /// The targets of those that are not over.
    pub busy: RefCell<BTreeSet<String>>,
    /// How many faults are over.
    pub over: Cell<usize>,
    /// What was wrong, where the run found it itself.
    pub trouble: Cell<Option<Trouble>>,
    /// The mark that it was wrong of.
    pub mark: RefCell<Option<String>>,
    /// What was promised.
    pub promised: RefCell<Vec<Promise>>,
    /// The tries that were answered with anything but success.
    pub refused: Cell<usize>,
    /// The connections of commands that promised nothing, and published perhaps.
    pub unpromised: RefCell<Vec<(String, RangeInclusive<u32>)>>,
    /// For a clean run.
    pub baseline: RefCell<Baseline>,
}
