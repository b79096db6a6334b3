//! Runs a plan in a sandbox, and says how it ended.

use std::path::PathBuf;
use std::rc::Rc;

use check::run::Sandboxes;
use check::{Check, Failure, Stop};
use tokio::sync::Semaphore;

use crate::fault::Fault;
use crate::plan::{Baseline, Plan, Record, Trouble};
use crate::run::run;
use crate::scenario::Scenario;

/// How many runs go on beside each other. Each waits far more than it works.
pub const AT_ONCE: usize = 6;
/// How many of them may have a node of their own: each takes 160 MB.
const OWN_NODES: usize = 2;
/// How often a run of which nothing can be said is run again.
const AGAIN: usize = 2;
/// What each run promises.
const SAYS: &str = "each operation answered with success has its effect once";

/// How one run ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// As a run without a fault.
    Well,
    /// Something was wrong.
    Found(Found),
    /// The point of the fault was not reached.
    Missed,
    /// Nothing can be said.
    Void(String),
}

/// What was wrong in a run.
#[derive(Debug, Clone)]
pub struct Found {
    /// In the field's word.
    pub trouble: Trouble,
    /// What was expected and observed.
    pub failure: Failure,
    /// The mark that it is about.
    pub mark: Option<String>,
}

/// One run that is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its faults.
    pub faults: Vec<Fault>,
    /// How it ended.
    pub ending: Ending,
    /// Its journal.
    pub trace: PathBuf,
    /// What it passed.
    pub baseline: Baseline,
    /// The marks of what was promised, in order.
    pub promised: Vec<String>,
}

impl Finished {
    /// The mark that was promised here when `other` promised `mark`: a command gives new ids in each
    /// run.
    #[must_use]
    pub fn mark_of(&self, other: &Self, mark: Option<&str>) -> Option<String> {
        let mark = mark?;
        let at = other.promised.iter().position(|own| own == mark);
        let here = at.and_then(|at| self.promised.get(at));
        Some(here.map_or(mark, String::as_str).to_owned())
    }
}

/// What runs need.
pub struct Runner {
    /// Where they are run.
    pub sandboxes: Sandboxes,
    /// What is run.
    pub scenario: Scenario,
    /// How the clean run ended.
    pub baseline: Option<Rc<Baseline>>,
    nodes: Semaphore,
}

impl Runner {
    /// A runner that knows no clean run yet.
    #[must_use]
    pub fn new(sandboxes: Sandboxes, scenario: Scenario) -> Self {
        Self {
            sandboxes,
            scenario,
            baseline: None,
            nodes: Semaphore::new(OWN_NODES),
        }
    }

    /// Runs a plan once, in a folder of that name.
    pub async fn once(&self, name: &str, plan: Plan) -> Finished {
        let own = plan.faults.iter().any(Fault::hits_broker);
        let _node = match own {
            true => self.nodes.acquire().await.ok(),
            false => None,
        };
        let record = Rc::new(Record::default());
        let faults = plan.faults.clone();
        let (kept, noted) = (record.clone(), faults.len());
        let body = Check::new(name, SAYS, verdict::NO_HOLE, move |lab| {
            run(lab, plan.clone(), kept.clone())
        });
        let verdict = self.sandboxes.run(body).await;
        let reached = record.reached.borrow().len() == noted;
        let ending = match verdict.outcome {
            Ok(()) if !reached => Ending::Missed,
            Ok(()) => Ending::Well,
            Err(Stop::Unknown(reason)) => Ending::Void(reason),
            Err(Stop::Failed(failure)) => Ending::Found(Found {
                trouble: record.trouble.get().unwrap_or(Trouble::Died),
                failure: *failure,
                mark: record.mark.take(),
            }),
        };
        Finished {
            faults,
            ending,
            trace: verdict.trace,
            baseline: record.baseline.take(),
            promised: {
                let promised = record.promised.borrow();
                promised.iter().map(|one| one.mark.clone()).collect()
            },
        }
    }

    /// The same until something can be said, a few times.
    pub async fn surely(&self, name: &str, plan: Plan) -> Finished {
        let mut finished = self.once(name, plan.clone()).await;
        for _ in 0..AGAIN {
            match finished.ending {
                Ending::Void(_) | Ending::Missed => finished = self.once(name, plan.clone()).await,
                Ending::Well | Ending::Found(_) => break,
            }
        }
        if matches!(finished.ending, Ending::Well | Ending::Missed)
            && let Some(dir) = finished.trace.parent()
        {
            // It has told nothing.
            let _ = std::fs::remove_dir_all(dir);
        }
        finished
    }

    /// A plan of these faults, with all operations and roles.
    #[must_use]
    pub fn plan(&self, faults: Vec<Fault>) -> Plan {
        Plan {
            operations: self.scenario.operations,
            scenario: self.scenario.clone(),
            faults,
            without: Vec::new(),
            baseline: self.baseline.clone(),
        }
    }
}
