//! Tells a search: its progress, what it found, and how to see it again.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use check::run::{Sandboxes, Status};
use course::chapter::Variant;
use course::holes;
use terminal::{BAD, BOLD, DIM, GOOD, NOTE, TYPE, labelled};
use verdict::PICTURE;

use crate::campaign::{Ending, Field, Found, Played, Sum, named};
use crate::fault::Fault;
use crate::frames;
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
pub fn begins(sum: &Sum, tried: usize, budget: Option<Duration>) {
    let Sum { points, faults, .. } = sum;
    let mut line = format!("a run without a fault passes {points} points; {faults} faults at them");
    if tried > 0 {
        line += &format!(", {tried} of them tried before (--fresh tries them again)");
    }
    if let Some(budget) = budget {
        line += &format!(", for {} s", budget.as_secs());
    }
    anstream::println!("{}", labelled("", 0, &line));
}

/// Nothing can be said, for this reason.
pub fn nothing_to_say(reason: &str) {
    anstream::println!("{NOTE}?{NOTE:#} nothing can be said of a run without a fault");
    part("reason", reason);
    part(
        "do",
        "just doctor, and try again when the machine is less busy",
    );
}

/// The services fail without any fault: a search would find that again and again.
pub fn not_clean(sandboxes: &Sandboxes, found: &Found) {
    anstream::println!("{BAD}✘{BAD:#} it fails without any fault");
    tell_failure(found);
    let (number, command) = (&sandboxes.chapter.number, sandboxes.variant);
    part("do", format!("mend it first: just {command} {number}"));
}

fn tell_failure(found: &Found) {
    part("expected", &found.failure.expected);
    part("observed", &found.failure.observed);
    part("why", &found.failure.why);
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
pub fn tell(field: &Field, smallest: &Smallest) {
    let faults = named(&smallest.plan.faults);
    let word = smallest.found.trouble.word();
    anstream::println!("{BAD}✘ {word}{BAD:#}  {BOLD}{faults}{BOLD:#}");
    let told: Vec<String> = smallest.plan.faults.iter().map(Fault::told).collect();
    part("fault", told.join("; and "));
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
        part(
            "nearest",
            format!("{} goes well. Where the two part", named(&well.faults)),
        );
        part("", format!("this one has {mine};"));
        part("", format!("that one has {theirs}"));
    }
    let (shown, times) = smallest.of;
    let mut size = format!("{} operation(s)", smallest.plan.operations);
    if !smallest.plan.without.is_empty() {
        size += &format!(", without {}", smallest.plan.without.join(" and "));
    }
    part(
        "smallest",
        format!("{size}; it shows in {shown} of {times} runs"),
    );
    tell_hole(field, &smallest.found);
    let picture = smallest.shown.trace.with_file_name(PICTURE);
    part("picture", field.sandboxes.paths().short(&picture));
    part("again", again(field, smallest));
}

/// What was seen once, and in none of the runs after it.
pub fn not_again(smallest: &Smallest) {
    let (faults, (_, times)) = (named(&smallest.plan.faults), smallest.of);
    let word = smallest.found.trouble.word();
    anstream::println!("{NOTE}?{NOTE:#} {faults}: {word} once, and in none of {times} more runs");
}

/// The command that plays the fault again.
fn again(field: &Field, smallest: &Smallest) -> String {
    let (number, variant) = (&field.sandboxes.chapter.number, field.sandboxes.variant);
    let mut command = format!("just search {number}{}", variant.flag());
    for fault in &smallest.plan.faults {
        command += &format!(" --fault '{fault}'");
    }
    if smallest.plan.operations != field.scenario.operations {
        command += &format!(" --operations {}", smallest.plan.operations);
    }
    for part in &smallest.plan.without {
        command += &format!(" --without {part}");
    }
    command
}

/// The hole to look at, and where it is.
fn tell_hole(field: &Field, found: &Found) {
    let Some(hole) = found.failure.hole.filter(|hole| *hole != verdict::NO_HOLE) else {
        return;
    };
    let chapter = &field.sandboxes.chapter;
    let place = holes::locate(&chapter.folder(Variant::Lab).join("src"), hole);
    if let Ok(Some((file, line))) = place {
        let file = field.sandboxes.paths().short(&file);
        part("look at", format!("HOLE {hole}, {file}:{line}"));
    }
    part("hint", format!("just hint {} {hole}", chapter.number));
}

/// The frames of the message that is wrong, around the fault; of all where it has none.
fn tell_frames(played: &Played, found: &Found) {
    let mark = found.mark.as_deref();
    let mark = mark.filter(|mark| frames::have(played, mark));
    let lines = frames::decisive(&frames::of(played, mark));
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    part("frames", text.join("\n"));
}

/// Tells one run of a fault that was typed.
pub fn once(number: usize, played: &Played) {
    let faults = named(&played.faults);
    match &played.ending {
        Ending::Well => anstream::println!("{GOOD}✔{GOOD:#} {number}  {faults}: goes well"),
        Ending::Missed => {
            anstream::println!("{NOTE}?{NOTE:#} {number}  {faults}: its point was not reached");
        }
        Ending::Void(reason) => {
            anstream::println!("{NOTE}?{NOTE:#} {number}  {faults}: nothing can be said");
            part("reason", reason);
        }
        Ending::Found(found) => {
            let word = found.trouble.word();
            anstream::println!("{BAD}✘{BAD:#} {number}  {faults}: {word}");
            tell_failure(found);
        }
    }
}

/// Sums up the runs of a fault that was typed.
pub fn outcome(field: &Field, all: &[Played]) -> Status {
    let found = |played: &&Played| matches!(played.ending, Ending::Found(_));
    let shown = all.iter().filter(found).count();
    let well = all
        .iter()
        .filter(|one| matches!(one.ending, Ending::Well))
        .count();
    if let Some(last) = all.iter().rfind(found)
        && let Ending::Found(found) = &last.ending
    {
        tell_frames(last, found);
        tell_hole(field, found);
        let picture = last.trace.with_file_name(PICTURE);
        part("picture", field.sandboxes.paths().short(&picture));
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
pub fn sum(field: &Field, sum: &Sum) {
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
    let (number, flag) = (
        &field.sandboxes.chapter.number,
        field.sandboxes.variant.flag(),
    );
    let again = format!("{TYPE}just search {number}{flag}{TYPE:#}");
    match (sum.found.is_empty(), sum.whole) {
        (true, true) => {}
        (true, false) => anstream::println!("go on with {again}"),
        (false, _) => anstream::println!("mend it, then {again}"),
    }
}

/// Prints one labelled part.
fn part(label: &str, text: impl Display) {
    let label = format!("    {DIM}{label}{DIM:#}");
    anstream::println!("{}", labelled(&label, 14, &text.to_string()));
}
