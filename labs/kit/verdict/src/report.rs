//! What a run tells: lines for a person, the same as JSON for a program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{Failure, Outcome, Stop};
use broker::NoBroker;
use course::chapter::{Chapter, Variant};
use course::holes;
use course::parts::{Part, Parts};
use course::paths::Paths;
use course::report::{Detail, Line, Next, Report as Written, Score, Status, Waiting};

/// The hole of a check that points to none.
pub const NO_HOLE: u32 = 0;

/// The picture of a run, beside its journal.
pub const PICTURE: &str = "picture.svg";

/// A page to step through a run that failed, beside its journal.
pub const REPLAY: &str = "replay.html";

/// How one check ended.
#[derive(Debug)]
pub struct Verdict {
    /// The check's name.
    pub name: String,
    /// Its sentence.
    pub says: &'static str,
    /// The hole to look at when the failure names none.
    pub hole: u32,
    /// Whether it counts for nothing when it fails.
    pub optional: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// The journal of its run.
    pub trace: PathBuf,
}

/// Tells a run as it goes, and sums it up.
#[derive(Debug)]
pub struct Report {
    pub(crate) paths: Paths,
    pub(crate) chapter: Chapter,
    pub(crate) variant: Variant,
    /// Where the student works, also when it is the solution that is checked.
    sources: PathBuf,
    /// The chapter's parts, where the checks are told by part.
    pub(crate) parts: Option<Parts>,
    /// The part whose heading stands above.
    pub(crate) heading: Option<Part>,
    /// The first hole that is open: a check that needs it is about it.
    pub(crate) open: Option<u32>,
    pub(crate) seed: u64,
    /// The command that runs these checks, where it is not `just lab` or `just solution`: then
    /// the check has no wiretap, and its data need no seed.
    pub(crate) command: Option<String>,
    pub(crate) broker: Option<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) waiting: Vec<Waiting>,
}

impl Report {
    /// A report about the checks of this chapter, with nothing in it yet.
    #[must_use]
    pub fn new(paths: &Paths, chapter: Chapter, variant: Variant, seed: u64) -> Self {
        Self {
            paths: paths.clone(),
            sources: chapter.lab.join("src"),
            chapter,
            variant,
            seed,
            command: None,
            parts: None,
            heading: None,
            open: None,
            broker: None,
            lines: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// The same report about sources with holes, if the program has any, told by part.
    #[must_use]
    pub fn of_lab(mut self, sources: Option<PathBuf>, parts: Option<Parts>) -> Self {
        self.sources = sources.unwrap_or(self.sources);
        self.parts = parts;
        self
    }

    /// From now on this hole is the first that is open.
    pub fn open_hole(&mut self, hole: Option<u32>) {
        self.open = hole;
    }

    /// Whether all checks of this hole pass.
    #[must_use]
    pub fn passes(&self, hole: u32) -> bool {
        let of_hole = |line: &&Line| line.hole == hole && line.counts();
        let mut lines = self.lines.iter().filter(of_hole);
        lines.all(|line| line.status == Status::Pass)
    }

    /// Takes the checks that were not run, and tells how many there are and what they need.
    pub fn wait_for(&mut self, waiting: Vec<Waiting>) {
        self.waiting = waiting;
        self.print_waiting();
    }

    /// The same report for another command's checks.
    #[must_use]
    pub fn of_command(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// All checks are unknown, for want of a broker.
    pub fn no_broker(&mut self, checks: Vec<Waiting>, reason: &NoBroker) {
        self.header(None);
        self.lines.extend(checks.into_iter().map(|check| Line {
            check: check.check,
            says: check.says,
            hole: check.hole,
            optional: check.optional,
            status: Status::Unknown,
            seconds: 0.0,
            failure: None,
            reason: Some(reason.to_string()),
            trace: String::new(),
        }));
        self.print_not_run(&reason.why, &reason.mend);
    }

    /// Prints a check's verdict, and keeps it for the sum.
    pub fn show(&mut self, verdict: Verdict) {
        let trace = self.paths.short(&verdict.trace);
        let (status, failure, reason) = match verdict.outcome {
            Ok(()) => (Status::Pass, None, None),
            Err(Stop::Unknown(reason)) => (Status::Unknown, None, Some(reason)),
            Err(Stop::Failed(failure)) => {
                let detail = self.detail(*failure, verdict.hole, &verdict.name);
                (Status::Fail, Some(detail), None)
            }
        };
        let line = Line {
            check: verdict.name,
            says: verdict.says.to_owned(),
            hole: verdict.hole,
            optional: verdict.optional,
            status,
            seconds: (verdict.seconds * 100.0).round() / 100.0,
            failure,
            reason,
            trace,
        };
        self.print(&line);
        self.lines.push(line);
    }

    /// The command that runs one check again, with the same data.
    pub(crate) fn again(&self, check: &str) -> String {
        if let Some(command) = &self.command {
            return format!("{command} --only {check}");
        }
        let (variant, number, seed) = (self.variant, &self.chapter.number, self.seed);
        format!("just {variant} {number} --only {check} --seed {seed}")
    }

    /// A check that needs an open hole is about that hole, whatever else it saw.
    fn detail(&self, failure: Failure, own: u32, check: &str) -> Detail {
        let hole = match self.open {
            Some(open) if own >= open => open,
            _ => failure.hole.unwrap_or(own),
        };
        Detail {
            expected: failure.expected,
            observed: failure.observed,
            why: failure.why,
            hole,
            explained: failure.hole.is_some(),
            again: self.again(check),
        }
    }

    /// Whether the hole of this failure is open, and a failure printed before said so.
    pub(crate) fn is_open_above(&self, detail: &Detail) -> bool {
        self.open == Some(detail.hole) && self.above().any(|other| other.hole == detail.hole)
    }

    /// Whether a failure printed before has the same cause.
    pub(crate) fn has_cause_above(&self, detail: &Detail) -> bool {
        self.above()
            .any(|other| other.hole == detail.hole && other.why == detail.why)
    }

    fn above(&self) -> impl Iterator<Item = &Detail> {
        self.lines.iter().filter_map(|line| line.failure.as_ref())
    }

    /// Prints the sum and writes the JSON, to `dir` and to `json` where that is given.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(&self, dir: &Path, json: Option<&Path>) -> Result<Status> {
        let status = self.status();
        let next = self.next();
        let scores = match status {
            // Nothing can be said, so the scores of earlier runs stand.
            Status::Unknown => Vec::new(),
            Status::Pass | Status::Fail => self.scores(),
        };
        let file = dir.join("report.json");
        let earlier = Written::read(&file).map_or(Vec::new(), |report| report.parts);
        self.print_sum(status, &scores, next.as_ref());
        self.tell_passed(&scores, &earlier, next.as_ref());
        let written = Written {
            report: 1,
            chapter: self.chapter.number.clone(),
            variant: self.variant.to_string(),
            broker: self.broker.clone(),
            seed: self.seed,
            status,
            passed: self.count(Status::Pass),
            parts: Score::update(scores, earlier),
            checks: self.lines.clone(),
            waiting: self.waiting.clone(),
            next,
            when: None,
        };
        let text = serde_json::to_string_pretty(&written)? + "\n";
        for path in [Some(file.as_path()), json].into_iter().flatten() {
            std::fs::write(path, &text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(status)
    }

    /// The score of each part of which a check was looked at.
    fn scores(&self) -> Vec<Score> {
        let Some(parts) = self.parts else {
            return Vec::new();
        };
        let ran = self
            .counted()
            .map(|line| (line.hole, line.status == Status::Pass));
        let waiting = self.waiting.iter().filter(|one| !one.optional);
        let all: Vec<_> = ran.chain(waiting.map(|one| (one.hole, false))).collect();
        let of_part = |part| {
            let of_part = all
                .iter()
                .filter(move |(hole, _)| parts.part(*hole) == part);
            Score::new(part, of_part.map(|(_, passes)| *passes))
        };
        let scores = Part::ALL.map(of_part).into_iter();
        scores.filter(|score| score.all > 0).collect()
    }

    /// The checks that count: all but those of optional holes that fail.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.counts())
    }

    /// What the checks that count come to. Without any check nothing can be said.
    fn status(&self) -> Status {
        if self.lines.is_empty() {
            return Status::Unknown;
        }
        let waits = self.waiting.iter().any(|one| !one.optional);
        let worst = self.counted().map(|line| line.status).max();
        worst
            .unwrap_or(Status::Pass)
            .max(if waits { Status::Fail } else { Status::Pass })
    }

    pub(crate) fn count(&self, status: Status) -> usize {
        self.counted().filter(|line| line.status == status).count()
    }

    /// Where to go on: at the first open hole, else at the hole of the first cause.
    fn next(&self) -> Option<Next> {
        let failed = self
            .counted()
            .filter_map(|line| Some((line.hole, line.failure.as_ref()?)));
        let failed: Vec<_> = failed
            .filter(|(_, detail)| detail.hole != NO_HOLE)
            .collect();
        let hole = match self.open {
            Some(_) => failed.iter().map(|(_, detail)| detail.hole).min()?,
            None => cause(&failed)?,
        };
        let (file, line) = holes::locate(&self.sources, hole).ok().flatten()?;
        Some(Next {
            hole,
            file: self.paths.short(&file),
            line,
        })
    }
}

/// The hole of the first cause. Of the failed checks that need the fewest holes, the first one that what
/// was seen explains tells it, else the first one. Each failure comes with the hole that its check needs.
fn cause(failed: &[(u32, &Detail)]) -> Option<u32> {
    let fewest = failed.iter().map(|(needs, _)| *needs).min()?;
    let mut first = failed.iter().filter(|(needs, _)| *needs == fewest);
    let explained = first.clone().find(|(_, detail)| detail.explained);
    explained.or(first.next()).map(|(_, detail)| detail.hole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(hole: u32, explained: bool) -> Detail {
        Detail {
            expected: "a job".to_owned(),
            observed: "no job".to_owned(),
            why: "jobs are work".to_owned(),
            hole,
            explained,
            again: "just lab 03".to_owned(),
        }
    }

    #[test]
    fn an_explained_failure_of_the_simplest_checks_tells_the_cause() {
        let (plain, to_3, to_7) = (failure(1, false), failure(3, true), failure(7, true));
        assert_eq!(cause(&[(1, &plain), (1, &to_3), (3, &to_7)]), Some(3));
        assert_eq!(cause(&[(7, &to_7), (3, &to_3)]), Some(3));
    }

    #[test]
    fn a_simple_check_comes_before_an_explained_one_that_needs_more_holes() {
        let (plain, to_7) = (failure(1, false), failure(7, true));
        assert_eq!(cause(&[(3, &to_7), (1, &plain)]), Some(1));
        assert_eq!(cause(&[]), None);
    }
}
