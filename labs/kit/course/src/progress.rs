//! How far a student has come: what the last run of checks left in `report.json`.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::chapter::{Chapter, Variant};
use crate::parts::Part;
use crate::paths::Paths;

/// The parts of a `report.json` that other commands need.
#[derive(Debug, Clone, Deserialize)]
pub struct Progress {
    /// `pass`, `fail` or `unknown`.
    pub status: String,
    /// How many checks pass.
    pub passed: usize,
    /// The score of each part when it was last checked.
    #[serde(default)]
    pub parts: Vec<Score>,
    /// Where to go on.
    pub next: Option<Next>,
    /// When the report was written.
    #[serde(skip)]
    pub when: Option<SystemTime>,
}

/// How many of a part's checks pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// `part A` or `part B`.
    pub part: String,
    /// The checks that pass.
    pub passed: usize,
    /// The checks that count.
    pub all: usize,
}

/// The hole to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Next {
    /// Its number.
    pub hole: u32,
}

impl Progress {
    /// What the last check of a chapter's lab left; `None` if it was never checked.
    #[must_use]
    pub fn of(paths: &Paths, chapter: &Chapter) -> Option<Self> {
        let folder = paths.data().join(chapter.run_folder(Variant::Lab));
        Self::read(&folder.join("report.json"))
    }

    /// Reads a `report.json`; `None` if it is missing or damaged.
    #[must_use]
    pub fn read(report: &Path) -> Option<Self> {
        let read: Self = serde_json::from_slice(&fs::read(report).ok()?).ok()?;
        let when = fs::metadata(report).and_then(|file| file.modified()).ok();
        Some(Self { when, ..read })
    }

    /// Whether all checks of both parts pass.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let full = |part| self.parts.iter().any(|score| score.is_full(part));
        Part::ALL.into_iter().all(full)
    }
}

impl Score {
    /// The part's score, from whether each of its checks passes.
    #[must_use]
    pub fn new(part: Part, passes: impl Iterator<Item = bool>) -> Self {
        let passes: Vec<bool> = passes.collect();
        Self {
            part: part.to_string(),
            passed: passes.iter().filter(|passes| **passes).count(),
            all: passes.len(),
        }
    }

    /// The scores of a run, and the `earlier` ones of the parts that it left out.
    #[must_use]
    pub fn update(mut scores: Vec<Self>, earlier: Vec<Self>) -> Vec<Self> {
        let left_out = |score: &Self| scores.iter().all(|new| new.part != score.part);
        let kept: Vec<Self> = earlier.into_iter().filter(left_out).collect();
        scores.extend(kept);
        scores.sort_by(|a, b| a.part.cmp(&b.part));
        scores
    }

    /// Whether this is `part`, and all of its checks pass.
    #[must_use]
    pub fn is_full(&self, part: Part) -> bool {
        self.part == part.to_string() && self.all > 0 && self.passed == self.all
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.part, self.passed, self.all)
    }
}
