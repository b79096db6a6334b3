//! What a search leaves behind: its report, and what the next one need not try again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::shrink::Smallest;

/// What a search keeps for the next one.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// What was searched: the bytes of the program and of this one, and the arguments that make runs.
    pub of: (u64, u64, usize),
    /// The faults that have shown nothing.
    pub well: Vec<String>,
}

impl Tried {
    /// What an earlier search of the same has tried: nothing, if there was none.
    #[must_use]
    pub fn read(file: &Path, program: &Path, (seed, operations): (u64, usize)) -> Self {
        let mut hasher = DefaultHasher::new();
        let own = std::env::current_exe().unwrap_or_default();
        for path in [program, &own] {
            std::fs::read(path).unwrap_or_default().hash(&mut hasher);
        }
        let of = (hasher.finish(), seed, operations);
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let earlier: Option<Self> = serde_json::from_str(&text).ok();
        let earlier = earlier.filter(|tried| tried.of == of);
        earlier.unwrap_or(Self {
            of,
            well: Vec::new(),
        })
    }
}

/// What a search was, for `--json`.
#[derive(Debug, Default, Serialize)]
pub struct Sum {
    /// The chapter's number.
    pub chapter: String,
    /// Points of the clean run.
    pub points: usize,
    /// Faults at them, and pairs of these.
    pub faults: usize,
    /// How many of them are pairs.
    pub pairs: usize,
    /// Tried, and nothing shown.
    pub well: usize,
    /// Whose point was not reached.
    pub missed: usize,
    /// Of which nothing can be said.
    pub void: usize,
    /// What was found, by its fault.
    pub found: BTreeMap<String, String>,
    /// The first of them, made as small as it can be.
    pub smallest: Option<Small>,
    /// Whether all faults were tried.
    pub whole: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// The smallest fault that shows something, for `--json`.
#[derive(Debug, Serialize)]
pub struct Small {
    /// The faults.
    pub faults: Vec<String>,
    /// What it shows.
    pub trouble: String,
    /// How many operations it takes.
    pub operations: usize,
    /// The hole to look at.
    pub hole: Option<u32>,
    /// In how many of so many runs it shows.
    pub of: (usize, usize),
}

impl From<&Smallest> for Small {
    fn from(smallest: &Smallest) -> Self {
        let faults = smallest.plan.faults.iter();
        Self {
            faults: faults.map(ToString::to_string).collect(),
            trouble: smallest.found.trouble.word().to_owned(),
            operations: smallest.plan.operations,
            hole: smallest.found.failure.hole,
            of: smallest.of,
        }
    }
}
