//! Prints what a run tells, for a person.

use std::fmt::Display;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use course::chapter::Variant;
use course::hints::lay_out;
use course::parts::{Part, after};
use course::report::{Line, Next, Score, Status, Waiting};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use supports_hyperlinks::Stream;
use terminal::{WIDTH, labelled, width};

use crate::report::{NO_HOLE, PICTURE, Report};
use broker::{Broker, out_of_support};

/// What must not stand as it is in the path of a link.
const IN_A_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'?').add(b'"');

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default().bold();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

impl Report {
    /// Something slow begins.
    pub fn progress(&self, line: &str) {
        anstream::eprintln!("{FAINT}{line}{FAINT:#}");
    }

    /// Prints the first line: chapter, broker and seed.
    pub fn header(&mut self, broker: Option<&Broker>) {
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

    /// Prints how many checks of each part were not run, and which holes they need.
    pub(crate) fn print_waiting(&mut self) {
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

    /// Prints the checks, none of which was run, and why.
    pub(crate) fn print_not_run(&self, why: &str, mend: &str) {
        for line in &self.lines {
            let left = format!("  {ODD}?{ODD:#} {}", line.says);
            let gap = 66_usize.saturating_sub(4 + width(&line.says)).max(2);
            anstream::println!("{left}{:gap$}not run", "");
        }
        part("reason", why);
        part("do", mend);
    }

    /// Prints one check's verdict, below the heading of its part.
    pub(crate) fn print(&mut self, line: &Line) {
        let part_of_check = self.parts.map(|parts| parts.part(line.hole));
        head(&mut self.heading, part_of_check);
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
            // One cause stops many checks, and need not be explained for each.
            if self.is_open_above(detail) {
                part(
                    "observed",
                    format!("as above: HOLE {} is open", detail.hole),
                );
                return;
            }
            part("expected", &detail.expected);
            part("observed", &detail.observed);
            if self.has_cause_above(detail) {
                part("why", "as above");
                return;
            }
            part("why", &detail.why);
            self.print_trace(line);
            part("again", &detail.again);
            if detail.hole != NO_HOLE {
                let number = &self.chapter.number;
                part("hint", format!("just hint {number} {}", detail.hole));
            }
        }
    }

    /// Prints where the run's journal is, and its picture: a link, where the terminal can.
    fn print_trace(&self, line: &Line) {
        if self.command.is_some() {
            return;
        }
        part("trace", &line.trace);
        let picture = Path::new(&line.trace).with_file_name(PICTURE);
        let shown = picture.display();
        let file = self.paths.root.join(&picture);
        match supports_hyperlinks::on(Stream::Stdout) {
            true => {
                // The bytes of a link (OSC 8) take no columns.
                let path = file.display().to_string();
                let url = utf8_percent_encode(&path, IN_A_PATH);
                let link = format!("\x1b]8;;file://{url}\x1b\\");
                anstream::println!("      {FAINT}picture{FAINT:#}   {link}{shown}\x1b]8;;\x1b\\");
            }
            false => part("picture", shown),
        }
    }

    /// Prints the count and the way on.
    pub(crate) fn print_sum(&self, status: Status, scores: &[Score], next: Option<&Next>) {
        let style = match status {
            Status::Pass => GOOD,
            Status::Fail => BAD,
            Status::Unknown => ODD,
        };
        for line in self.sum(status, scores, next) {
            anstream::println!("  {style}{line}{style:#}");
        }
    }

    /// The count and the way on: on one line where there is room.
    fn sum(&self, status: Status, scores: &[Score], next: Option<&Next>) -> Vec<String> {
        let all = self.counted().count() + self.waiting.iter().filter(|one| !one.optional).count();
        let passed = self.count(Status::Pass);
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
                _ => format!(
                    "break it: just search {0}; ours: just diff {0}",
                    self.chapter.number
                ),
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

    /// Says that a part is done, and the first time what it has taught.
    pub(crate) fn tell_passed(&self, scores: &[Score], earlier: &[Score], next: Option<&Next>) {
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
