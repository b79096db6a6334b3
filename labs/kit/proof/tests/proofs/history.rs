//! How each proof went the last time. A run tries first what failed, then the slow proofs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::Proof;

/// The expected time of a first proof or build, on two cores.
const A_SOLUTION: Duration = Duration::from_secs(30);
const MUTANTS: Duration = Duration::from_secs(35);
const ANOTHER: Duration = Duration::from_secs(3);

/// A file, written after each proof, so that an interrupted run counts, too.
pub struct History {
    path: PathBuf,
    past: BTreeMap<String, Past>,
}

#[derive(Clone, Copy)]
struct Past {
    took: Duration,
    failed: bool,
}

impl History {
    /// Reads `path`; empty if it cannot be read.
    pub fn read(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        let lines: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
        let past = lines.into_iter().map(|(name, line)| {
            let seconds = line["seconds"].as_f64().unwrap_or_default();
            let took = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            let failed = line["failed"] == true;
            (name, Past { took, failed })
        });
        Self {
            path: path.to_owned(),
            past: past.collect(),
        }
    }

    /// Adds the time and the result of a proof or a build.
    pub fn record(&mut self, name: &str, took: Duration, failed: bool) {
        self.past.insert(name.to_owned(), Past { took, failed });
        let lines = self.past.iter().map(|(name, past)| {
            let line = json!({ "seconds": past.took.as_secs_f64(), "failed": past.failed });
            (name.clone(), line)
        });
        let text = Value::Object(lines.collect()).to_string();
        // If this fails, the next run only has another order and a worse estimate.
        let _ = fs::write(&self.path, text);
    }

    /// The expected time of a proof or a build.
    pub fn expected(&self, name: &str) -> Duration {
        let never = match name {
            _ if name.ends_with("solution") => A_SOLUTION,
            _ if name.ends_with("mutants") => MUTANTS,
            _ => ANOTHER,
        };
        self.past.get(name).map_or(never, |past| past.took)
    }

    /// Sorts: first what failed the last time, then the solutions, which are built first. Within a
    /// chapter the slow proofs come first, so that none is left at the end.
    pub fn sort(&self, proofs: &mut [Proof]) {
        let failed = |proof: &Proof| self.past.get(&proof.name).is_some_and(|past| past.failed);
        proofs.sort_by_key(|proof| {
            let is_solution = proof.name.ends_with("solution");
            let place = proof.needs.last().copied();
            let took = self.expected(&proof.name);
            (!failed(proof), !is_solution, place, std::cmp::Reverse(took))
        });
    }
}
