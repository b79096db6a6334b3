//! Prints a search: its progress, what it found, and how to see it again.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use check::run::{Sandboxes, Status};
use course::chapter::Variant;
use course::holes;
use terminal::{BAD, BOLD, DIM, GOOD, NOTE, TYPE, labelled};
use verdict::PICTURE;

use crate::fault::Fault;
use crate::frames;
use crate::report::Sum;
use crate::runner::{Ending, Finished, Found, Runner};
use crate::searching::named;
use crate::shrink::Smallest;

/// How often a search that nobody watches tells where it is.
const TELL: Duration = Duration::from_secs(10);

/// Prints chapter and broker.
pub fn header(sandboxes: &Sandboxes) {
    let left = format!(
        "{} {}: every fault at every message",
        sandboxes.variant.title(),
        sandboxes.chapter.heading()
    );
    anstream::println!("{BOLD}{left}{BOLD:#}");
    if let Some(broker) = sandboxes.broker() {
        anstream::println!("{DIM}{}{DIM:#}", broker.label());
    }
}

/// Says how much there is to try.
pub fn begins(sum: &Sum, budget: Option<Duration>) {
    let (points, tried) = (sum.points, sum.well);
    let faults = sum.faults - sum.pairs;
    let mut line = format!("a run without a fault passes {points} points; {faults} faults at them");
    if sum.pairs > 0 {
        line += &format!(", then {} pairs", sum.pairs);
    }
    if tried > 0 {
        line += &format!(", {tried} of them tried before (--fresh tries them again)");
    }
    if let Some(budget) = budget {
        line += &format!(", for {} s", budget.as_secs());
    }
    anstream::println!("{}", labelled("", 0, &line));
}

/// Tells of a run without any fault that does not go well: a search would find that again and again.
/// `None` for one that does.
pub fn not_clean(sandboxes: &Sandboxes, clean: &Ending) -> Option<Status> {
    match clean {
        Ending::Well | Ending::Missed => None,
        Ending::Void(reason) => {
            anstream::println!("{NOTE}?{NOTE:#} nothing can be said of a run without a fault");
            labelled_line("reason", reason);
            let remedy = "just doctor, and try again when the machine is less busy";
            labelled_line("do", remedy);
            Some(Status::Unknown)
        }
        Ending::Found(found) => {
            anstream::println!("{BAD}✘{BAD:#} it fails without any fault");
            tell_failure(found);
            let (number, command) = (&sandboxes.chapter.number, sandboxes.variant);
            labelled_line("do", format!("mend it first: just {command} {number}"));
            Some(Status::Fail)
        }
    }
}

fn tell_failure(found: &Found) {
    labelled_line("expected", &found.failure.expected);
    labelled_line("observed", &found.failure.observed);
    labelled_line("why", &found.failure.why);
}

/// The line that says how far a search is.
pub struct Progress {
    all: usize,
    done: usize,
    began: Instant,
    told: Instant,
    budget: Option<Duration>,
    watched: bool,
}

impl Progress {
    /// Of so many runs.
    #[must_use]
    pub fn new(all: usize, budget: Option<Duration>) -> Self {
        Self {
            all,
            done: 0,
            began: Instant::now(),
            told: Instant::now(),
            budget,
            watched: std::io::stderr().is_terminal(),
        }
    }

    /// One more is done.
    pub fn step(&mut self, sum: &Sum) {
        self.done += 1;
        if !self.watched && self.told.elapsed() < TELL {
            return;
        }
        self.told = Instant::now();
        let took = self.began.elapsed();
        let mut rest = took.mul_f64(self.all as f64 / self.done as f64) - took;
        if let Some(budget) = self.budget {
            rest = rest.min(budget.saturating_sub(took));
        }
        let (minutes, seconds) = (rest.as_secs() / 60, rest.as_secs() % 60);
        let shown = match sum.found.len() {
            0 => "nothing lost".to_owned(),
            found => format!("{found} found"),
        };
        let (done, all) = (self.done, self.all);
        let line = format!("{done} of {all} faults · {minutes}:{seconds:02} left · {shown}");
        match self.watched {
            true => {
                eprint!("\r\x1b[K  {line}");
                let _ = std::io::stderr().flush();
            }
            false => eprintln!("  {line}"),
        }
    }

    /// Prints a line of its own.
    pub fn aside(&self, line: &str) {
        if self.watched {
            eprint!("\r\x1b[K");
        }
        anstream::eprintln!("  {line}");
    }

    /// Removes the line.
    pub fn end(&self) {
        if self.watched {
            eprint!("\r\x1b[K");
        }
    }
}

/// Tells the smallest fault that shows something.
pub fn tell(runner: &Runner, smallest: &Smallest) {
    let faults = named(&smallest.plan.faults);
    let word = smallest.found.trouble.word();
    anstream::println!("{BAD}✘ {word}{BAD:#}  {BOLD}{faults}{BOLD:#}");
    let told: Vec<String> = smallest.plan.faults.iter().map(Fault::told).collect();
    labelled_line("fault", told.join("; and "));
    tell_failure(&smallest.found);
    tell_frames(&smallest.shown, &smallest.found);
    if let Some(well) = &smallest.well {
        let own = smallest.found.mark.as_deref();
        let there = well.mark_of(&smallest.shown, own);
        // Of a message that the other run does not have nothing can be compared: then all are.
        let there = there.filter(|mark| frames::have(well, mark));
        let mine = frames::of(&smallest.shown, own.filter(|_| there.is_some()));
        let theirs = frames::of(well, there.as_deref());
        let (mine, theirs) = frames::parting(&mine, &theirs);
        labelled_line(
            "nearest",
            format!(
                "{} goes well. What only one of them has:",
                named(&well.faults)
            ),
        );
        labelled_line("", format!("this one: {mine}"));
        labelled_line("", format!("that one: {theirs}"));
    }
    let (shown, times) = smallest.of;
    let mut size = format!("{} operation(s)", smallest.plan.operations);
    if !smallest.plan.without.is_empty() {
        size += &format!(", without {}", smallest.plan.without.join(" and "));
    }
    labelled_line("seen with", format!("{size}, in {shown} of {times} runs"));
    tell_hole(runner, &smallest.found);
    let picture = smallest.shown.trace.with_file_name(PICTURE);
    labelled_line("picture", runner.sandboxes.paths().short(&picture));
    labelled_line("again", again(runner, smallest));
}

/// What was seen once, and in none of the runs after it.
pub fn not_again(smallest: &Smallest) {
    let (faults, (_, times)) = (named(&smallest.plan.faults), smallest.of);
    let word = smallest.found.trouble.word();
    anstream::println!("{NOTE}?{NOTE:#} {faults}: {word} once, and in none of {times} more runs");
}

/// The command that plays the fault again.
fn again(runner: &Runner, smallest: &Smallest) -> String {
    let (number, variant) = (&runner.sandboxes.chapter.number, runner.sandboxes.variant);
    let mut command = format!("just search {number}{}", variant.flag());
    for fault in &smallest.plan.faults {
        command += &format!(" --fault '{fault}'");
    }
    if smallest.plan.operations != runner.scenario.operations {
        command += &format!(" --operations {}", smallest.plan.operations);
    }
    for role in &smallest.plan.without {
        command += &format!(" --without {role}");
    }
    command
}

/// The hole to look at, and where it is.
fn tell_hole(runner: &Runner, found: &Found) {
    let Some(hole) = found.failure.hole.filter(|hole| *hole != verdict::NO_HOLE) else {
        return;
    };
    let chapter = &runner.sandboxes.chapter;
    let place = holes::locate(&chapter.folder(Variant::Lab).join("src"), hole);
    if let Ok(Some((file, line))) = place {
        let file = runner.sandboxes.paths().short(&file);
        labelled_line("look at", format!("HOLE {hole}, {file}:{line}"));
    }
    labelled_line("hint", format!("just hint {} {hole}", chapter.number));
}

/// The frames of the message that is wrong, around the fault; of all where it has none.
fn tell_frames(finished: &Finished, found: &Found) {
    let mark = found.mark.as_deref();
    let mark = mark.filter(|mark| frames::have(finished, mark));
    let lines = frames::decisive(&frames::of(finished, mark));
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    labelled_line("frames", text.join("\n"));
}

/// Tells one run of a fault that was typed.
pub fn once(number: usize, finished: &Finished) {
    let faults = named(&finished.faults);
    match &finished.ending {
        Ending::Well => anstream::println!("{GOOD}✔{GOOD:#} {number}  {faults}: goes well"),
        Ending::Missed => {
            let why = match finished.faults.len() {
                1 => "its point was not reached; --list has all",
                _ => "a point was not reached, or they came at once to the same service",
            };
            anstream::println!("{NOTE}?{NOTE:#} {number}  {faults}: {why}");
        }
        Ending::Void(reason) => {
            anstream::println!("{NOTE}?{NOTE:#} {number}  {faults}: nothing can be said");
            labelled_line("reason", reason);
        }
        Ending::Found(found) => {
            let word = found.trouble.word();
            anstream::println!("{BAD}✘{BAD:#} {number}  {faults}: {word}");
            tell_failure(found);
        }
    }
}

/// Sums up the runs of a fault that was typed.
pub fn outcome(runner: &Runner, all: &[Finished]) -> Status {
    let found = |finished: &&Finished| matches!(finished.ending, Ending::Found(_));
    let shown = all.iter().filter(found).count();
    let goes_well = |one: &&Finished| matches!(one.ending, Ending::Well);
    let well = all.iter().filter(goes_well).count();
    if let Some(last) = all.iter().rfind(found)
        && let Ending::Found(found) = &last.ending
    {
        tell_frames(last, found);
        tell_hole(runner, found);
        let picture = last.trace.with_file_name(PICTURE);
        labelled_line("picture", runner.sandboxes.paths().short(&picture));
    }
    if all.len() > 1 {
        anstream::println!(
            "{shown} of {} runs show something, {well} go well",
            all.len()
        );
    }
    match (shown, well) {
        (1.., _) => Status::Fail,
        (0, 1..) => Status::Pass,
        (0, 0) => Status::Unknown,
    }
}

/// The last lines: what was tried, and what was not.
pub fn sum(runner: &Runner, sum: &Sum) {
    let tried = sum.well + sum.found.len();
    let seconds = sum.seconds.round();
    let mut line = format!("{tried} of {} faults tried in {seconds} s", sum.faults);
    line += &match sum.found.len() {
        0 => ": nothing lost, duplicated or stuck".to_owned(),
        1 => ": 1 shows something".to_owned(),
        found => format!(": {found} show something"),
    };
    if sum.missed > 0 {
        line += &format!("; the point of {} was not reached", sum.missed);
    }
    if sum.void > 0 {
        line += &format!("; nothing can be said of {}", sum.void);
    }
    let style = if sum.found.is_empty() { GOOD } else { BAD };
    anstream::println!("{style}{}{style:#}", labelled("", 0, &line));
    let (number, flag) = (&sum.chapter, runner.sandboxes.variant.flag());
    let pairs = if sum.pairs > 0 { " --pairs" } else { "" };
    let again = format!("{TYPE}just search {number}{flag}{pairs}{TYPE:#}");
    match (sum.found.is_empty(), sum.whole) {
        (true, true) => {}
        (true, false) => anstream::println!("go on with {again}"),
        (false, _) => anstream::println!("mend it, then {again}"),
    }
}

/// Prints one labelled text.
fn labelled_line(label: &str, text: impl Display) {
    let label = format!("    {DIM}{label}{DIM:#}");
    anstream::println!("{}", labelled(&label, 14, &text.to_string()));
}
