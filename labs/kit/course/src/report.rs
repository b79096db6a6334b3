//! `report.json`: what a run of checks leaves, and with it how far a student has come.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::chapter::{Chapter, Variant};
use crate::parts::Part;
use crate::paths::Paths;

/// A `report.json`: version 1 of the schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The schema's version.
    pub report: u32,
    /// The chapter's number.
    pub chapter: String,
    /// `lab` or `solution`.
    pub variant: String,
    /// The broker's version and kind, where there was one.
    pub broker: Option<String>,
    /// The seed of the run's random data.
    pub seed: u64,
    /// What the checks that count come to.
    pub status: Status,
    /// How many of them pass.
    pub passed: usize,
    /// A part that the run left out has its score of an earlier one.
    pub parts: Vec<Score>,
    /// The checks that were run.
    pub checks: Vec<Line>,
    /// The checks that were not run.
    pub waiting: Vec<Waiting>,
    /// Where to go on.
    pub next: Option<Next>,
    /// When it was written.
    #[serde(skip)]
    pub when: Option<SystemTime>,
}

/// What a run or a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All that was expected was seen.
    Pass,
    /// Nothing can be said: the broker was lost, or the machine stood in the way.
    Unknown,
    /// The services did something wrong.
    Fail,
}

/// How one check ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// The check's name.
    pub check: String,
    /// Its sentence.
    pub says: String,
    /// The last hole that it needs.
    pub hole: u32,
    /// Whether it counts for nothing when it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What it came to.
    pub status: Status,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Detail>,
    /// Why nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The journal of its run.
    pub trace: String,
}

/// What a failed check tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detail {
    /// What it expected.
    pub expected: String,
    /// What it observed instead.
    pub observed: String,
    /// Why that matters.
    pub why: String,
    /// The hole to look at; 0 for none.
    pub hole: u32,
    /// Whether what was seen points there; else it is only the hole that the check is about.
    #[serde(default)]
    pub explained: bool,
    /// The command that runs it again, with the same data.
    pub again: String,
}

/// A check that was not run, because a hole that it needs is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Waiting {
    /// Its name.
    pub check: String,
    /// Its sentence.
    pub says: String,
    /// The last hole that it needs.
    pub hole: u32,
    /// Whether it counts for nothing when it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// The hole to go on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Next {
    /// Its number.
    pub hole: u32,
    /// Its file, as a student types it.
    pub file: String,
    /// The line where it begins, from 1.
    pub line: usize,
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

impl Report {
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

impl Status {
    /// The exit code: 0, 2 or 1.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Unknown => 2,
        }
    }
}

impl Line {
    /// Whether it counts for the run: a check of an optional hole that fails does not.
    #[must_use]
    pub fn counts(&self) -> bool {
        !(self.optional && self.status == Status::Fail)
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
