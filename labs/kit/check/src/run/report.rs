//! What a run tells: lines for a person, the same as JSON for a program.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use serde::Serialize;

use crate::{Check, Failure, Outcome, Stop};
use broker::{Broker, NoBroker, out_of_support};
use course::chapter::{Chapter, Variant};
use course::hints::lay_out;
use course::holes;
use course::parts::{Part, Parts, after};
use course::paths::Paths;
use course::progress::{Progress, Score};
use terminal::{WIDTH, labelled, width};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default().bold();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

/// The hole of a check that points to none.
pub const NO_HOLE: u32 = 0;

/// What a run or a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All that was expected was seen.
    Pass,
    /// Nothing can be said: the broker was lost, or the machine stood in the way.
    Unknown,
    /// The services did something wrong.
    Fail,
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

/// The same, as it stands in `report.json`.
#[derive(Debug, Clone, Serialize)]
struct Line {
    check: String,
    says: String,
    /// The last hole that it needs.
    hole: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
    status: Status,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    trace: String,
}

impl Line {
    /// Whether it counts for the run: a check of an optional hole that fails does not.
    fn counts(&self) -> bool {
        !(self.optional && self.status == Status::Fail)
    }
}

#[derive(Debug, Clone, Serialize)]
struct Detail {
    expected: String,
    observed: String,
    why: String,
    hole: u32,
    again: String,
}

/// A check that was not run, because a hole that it needs is open.
#[derive(Debug, Serialize)]
struct Waiting {
    check: String,
    says: &'static str,
    hole: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

/// Where to go on.
#[derive(Debug, Clone, Serialize)]
struct Next {
    hole: u32,
    file: String,
    line: usize,
}

/// `report.json`: version 1 of the schema.
#[derive(Debug, Serialize)]
struct Written<'a> {
    report: u32,
    chapter: &'a str,
    variant: &'a str,
    broker: Option<&'a str>,
    seed: u64,
    status: Status,
    passed: usize,
    /// A part that this run left out has its score of an earlier one.
    parts: Vec<Score>,
    checks: &'a [Line],
    waiting: &'a [Waiting],
    next: Option<&'a Next>,
}

/// Tells a run as it goes, and sums it up.
#[derive(Debug)]
pub struct Report {
    paths: Paths,
    chapter: Chapter,
    variant: Variant,
    /// Where the student works, also when it is the solution that is checked.
    sources: PathBuf,
    /// The chapter's parts, where the checks are told by part.
    parts: Option<Parts>,
    /// The part whose heading stands above.
    heading: Option<Part>,
    /// The first hole that is open: a check that needs it is about it.
    open: Option<u32>,
    seed: u64,
    /// The command that runs these checks, where it is not `just lab` or `just solution`: then
    /// the check has no wiretap, and its data need no seed.
    command: Option<String>,
    broker: Option<String>,
    lines: Vec<Line>,
    waiting: Vec<Waiting>,
}

impl Report {
    pub(super) fn new(paths: &Paths, chapter: Chapter, variant: Variant, seed: u64) -> Self {
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
    pub(super) fn of_lab(mut self, sources: Option<PathBuf>, parts: Option<Parts>) -> Self {
        self.sources = sources.unwrap_or(self.sources);
        self.parts = parts;
        self
    }

    /// From now on this hole is the first that is open.
    pub(super) fn open_hole(&mut self, hole: Option<u32>) {
        self.open = hole;
    }

    /// Whether all checks of this hole pass.
    pub(super) fn passes(&self, hole: u32) -> bool {
        let of_hole = |line: &&Line| line.hole == hole && line.counts();
        let mut lines = self.lines.iter().filter(of_hole);
        lines.all(|line| line.status == Status::Pass)
    }

    /// Takes the checks that were not run, and tells how many there are and what they need.
    pub(super) fn wait_for(&mut self, checks: Vec<Check>) {
        self.waiting = checks
            .into_iter()
            .map(|check| Waiting {
                check: check.name,
                says: check.says,
                hole: check.hole,
                optional: check.optional,
            })
            .collect();
        let parts = self.parts;
        let part_of = |waiting: &Waiting| parts.map(|parts| parts.part(waiting.hole));
        for group in self.waiting.chunk_by(|a, b| part_of(a) == part_of(b)) {
            let (first, last) = (group[0].hole, group[group.len() - 1].hole);
            head(&mut self.heading, part_of(&group[0]));
            let (count, plural) = (group.len(), if group.len() == 1 { "" } else { "s" });
            let holes = match first == last {
                true => format!("HOLE {first}"),
                false => format!("HOLES {first} to {last}"),
            };
            anstream::println!("  {FAINT}· {count} more check{plural} for {holes}{FAINT:#}");
        }
    }

    /// The same report for another command's checks.
    pub(super) fn of_command(mut self, command: &str) -> Self {
        self.command = Some(command.to_owned());
        self
    }

    /// Something slow begins.
    pub(super) fn progress(&self, line: &str) {
        anstream::eprintln!("{FAINT}{line}{FAINT:#}");
    }

    pub(super) fn header(&mut self, broker: Option<&Broker>) {
        let left = format!("{} {}", self.variant.title(), self.chapter.heading());
        self.broker = broker.map(Broker::label);
        let right = match &self.broker {
            Some(broker) => format!("{broker} · seed {}", self.seed),
            None => format!("seed {}", self.seed),
        };
        let gap = WIDTH.saturating_sub(width(&left) + width(&right)).max(2);
        anstream::println!("{STRONG}{left}{STRONG:#}{:gap$}{FAINT}{right}{FAINT:#}", "");
        if let Some(told) = broker.and_then(|broker| out_of_support(&broker.version)) {
            anstream::println!("  {FAINT}{told}{FAINT:#}");
        }
    }

    /// All checks are unknown, for want of a broker.
    pub(super) fn no_broker(&mut self, checks: &[Check], reason: &NoBroker) {
        self.header(None);
        for check in checks {
            let left = format!("  {ODD}?{ODD:#} {}", check.says);
            let gap = 66_usize.saturating_sub(4 + width(check.says)).max(2);
            anstream::println!("{left}{:gap$}not run", "");
            self.lines.push(Line {
                check: check.name.clone(),
                says: check.says.to_owned(),
                hole: check.hole,
                optional: check.optional,
                status: Status::Unknown,
                seconds: 0.0,
                failure: None,
                reason: Some(reason.to_string()),
                trace: String::new(),
            });
        }
        part("reason", &reason.why);
        part("do", &reason.mend);
    }

    pub(super) fn show(&mut self, verdict: Verdict) {
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
        head(
            &mut self.heading,
            self.parts.map(|parts| parts.part(line.hole)),
        );
        self.print(&line);
        self.lines.push(line);
    }

    /// The command that runs one check again, with the same data.
    fn again(&self, check: &str) -> String {
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
            again: self.again(check),
        }
    }

    fn print(&self, line: &Line) {
        let (style, mark) = match line.status {
            Status::Pass => (GOOD, '✔'),
            Status::Fail if line.optional => (FAINT, '·'),
            Status::Fail => (BAD, '✘'),
            Status::Unknown => (ODD, '?'),
        };
        let optional = if line.counts() { "" } else { "optional · " };
        let time = format!("{optional}{:.1} s", line.seconds);
        let gap = WIDTH
            .saturating_sub(4 + width(&line.says) + width(&time))
            .max(2);
        anstream::println!(
            "  {style}{mark}{style:#} {}{:gap$}{FAINT}{time}{FAINT:#}",
            line.says,
            ""
        );
        if let Some(reason) = &line.reason {
            part("reason", reason);
            self.print_trace(line);
            part("again", self.again(&line.check));
        }
        if let Some(detail) = &line.failure {
            // One open hole stops many checks, and need not be explained for each.
            if let Some(above) = self.explained_above(detail) {
                part("observed", above);
                return;
            }
            part("expected", &detail.expected);
            part("observed", &detail.observed);
            part("why", &detail.why);
            self.print_trace(line);
            part("again", &detail.again);
            if detail.hole != NO_HOLE {
                let number = &self.chapter.number;
                part("hint", format!("just hint {number} {}", detail.hole));
            }
        }
    }

    fn print_trace(&self, line: &Line) {
        if self.command.is_none() {
            part("trace", &line.trace);
        }
    }

    /// What a failure comes to that one printed before says already: the same, or the same open hole.
    fn explained_above(&self, detail: &Detail) -> Option<String> {
        let mut earlier = self.lines.iter().filter_map(|line| line.failure.as_ref());
        let hole = self.open.filter(|open| *open == detail.hole);
        let found = earlier.find(|other| {
            let same = other.observed == detail.observed && other.why == detail.why;
            same || hole == Some(other.hole)
        })?;
        let first = found.observed.lines().next().unwrap_or_default();
        Some(match hole {
            Some(hole) => format!("as above: HOLE {hole} is open"),
            None => format!("as above: {first}"),
        })
    }

    /// Prints the sum and writes the JSON.
    pub(super) fn finish(&self, dir: &Path, json: Option<&Path>) -> Result<Status> {
        let passed = self.count(Status::Pass);
        let status = self.status();
        let next = self.next();
        let scores = match status {
            // Nothing can be said, so the scores of earlier runs stand.
            Status::Unknown => Vec::new(),
            Status::Pass | Status::Fail => self.scores(),
        };
        let file = dir.join("report.json");
        let earlier = Progress::read(&file);
        let style = match status {
            Status::Pass => GOOD,
            Status::Fail => BAD,
            Status::Unknown => ODD,
        };
        for line in self.sum(status, passed, &scores, next.as_ref()) {
            anstream::println!("  {style}{line}{style:#}");
        }
        let earlier = earlier.map_or(Vec::new(), |progress| progress.parts);
        self.tell_passed(&scores, &earlier, next.as_ref());
        let written = Written {
            report: 1,
            chapter: &self.chapter.number,
            variant: &self.variant.to_string(),
            broker: self.broker.as_deref(),
            seed: self.seed,
            status,
            passed,
            parts: Score::update(scores, earlier),
            checks: &self.lines,
            waiting: &self.waiting,
            next: next.as_ref(),
        };
        let text = serde_json::to_string_pretty(&written)? + "\n";
        for path in [Some(file.as_path()), json].into_iter().flatten() {
            std::fs::write(path, &text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(status)
    }

    /// The count and the way on: on one line where there is room.
    fn sum(
        &self,
        status: Status,
        passed: usize,
        scores: &[Score],
        next: Option<&Next>,
    ) -> Vec<String> {
        let all = self.counted().count() + self.waiting.iter().filter(|one| !one.optional).count();
        let mut sum = match self.lines.len() {
            0 => "no check of that name".to_owned(),
            _ => format!("{passed} of {all} checks pass"),
        };
        if let [a, b] = scores {
            sum += &format!(" ({a}, {b})");
        }
        let unknown = self.count(Status::Unknown);
        if unknown > 0 {
            sum += &format!(", {unknown} unknown");
        }
        let way = match next {
            Some(next) => format!("next: HOLE {}, {}:{}", next.hole, next.file, next.line),
            None if status == Status::Pass && self.variant == Variant::Lab => match scores {
                [_] => format!("the whole chapter: just lab {}", self.chapter.number),
                _ => format!("compare with ours: just diff {}", self.chapter.number),
            },
            None => return vec![sum],
        };
        let line = format!("{sum} · {way}");
        if width(&line) <= WIDTH - 2 {
            vec![line]
        } else {
            vec![sum, way]
        }
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

    /// Says that a part is done, and the first time what it has taught.
    fn tell_passed(&self, scores: &[Score], earlier: &[Score], next: Option<&Next>) {
        if self.variant != Variant::Lab {
            return;
        }
        let full = |scores: &[Score], part| scores.iter().any(|score| score.is_full(part));
        let readme = std::fs::read_to_string(self.chapter.readme()).unwrap_or_default();
        for part in Part::ALL {
            let text = after(&readme, part);
            if full(scores, part) && !full(earlier, part) && !text.is_empty() {
                anstream::println!("\n  {STRONG}After {part}{STRONG:#}");
                for line in lay_out(&text, WIDTH - 2).lines() {
                    anstream::println!("  {line}");
                }
            }
        }
        if let Some(Next { hole, .. }) = next.filter(|_| full(scores, Part::A)) {
            anstream::println!(
                "  {GOOD}part A is done:{GOOD:#} stop here, or go on with HOLE {hole}"
            );
        }
    }

    /// The checks that count: all but those of optional holes that fail.
    fn counted(&self) -> impl Iterator<Item = &Line> {
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

    fn count(&self, status: Status) -> usize {
        self.counted().filter(|line| line.status == status).count()
    }

    /// The first hole that a failure points to.
    fn next(&self) -> Option<Next> {
        let failures = self.counted().filter_map(|line| line.failure.as_ref());
        let holes = failures.map(|detail| detail.hole);
        let hole = holes.filter(|&hole| hole != NO_HOLE).min()?;
        let (file, line) = holes::locate(&self.sources, hole).ok().flatten()?;
        Some(Next {
            hole,
            file: self.paths.short(&file),
            line,
        })
    }
}

/// Prints the heading of `part`, unless it stands above.
fn head(above: &mut Option<Part>, part: Option<Part>) {
    if let Some(part) = part.filter(|_| *above != part) {
        anstream::println!("  {STRONG}{}{STRONG:#}", part.title());
    }
    *above = part;
}

/// Prints one labelled part of a verdict.
fn part(label: &str, text: impl Display) {
    let label = format!("      {FAINT}{label}{FAINT:#}");
    anstream::println!("{}", labelled(&label, 16, &text.to_string()));
}
