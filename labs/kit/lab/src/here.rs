//! `just` alone: where the student is, and the handful of commands that go on from there.

use std::process::ExitCode;
use std::time::SystemTime;

use anstream::println;
use anyhow::{Context, Result};
use course::chapter::Chapter;
use course::holes;
use course::paths::Paths;
use course::report::{Report, Score};

use terminal::{BOLD, DIM, GOOD, TYPE};

/// The chapter that the student is at: the one checked last or, if that one passes, the one after it.
/// Before the first check, the first chapter.
///
/// # Errors
/// When there are no chapters.
pub fn current(paths: &Paths) -> Result<Chapter> {
    let chapters = Chapter::all(&paths.root)?;
    let at = match last(paths, &chapters) {
        None => 0,
        Some((chapter, report)) => {
            let at = chapters.iter().position(|one| one == chapter);
            at.unwrap_or(0) + usize::from(report.is_done())
        }
    };
    let at = at.min(chapters.len().saturating_sub(1));
    chapters
        .into_iter()
        .nth(at)
        .context("there are no chapters")
}

pub fn run(paths: &Paths) -> Result<ExitCode> {
    let chapters = Chapter::all(&paths.root)?;
    let here = current(paths)?;
    let number = &here.number;
    match last(paths, &chapters) {
        Some((chapter, report)) => print_last(paths, chapter, &report),
        None => {
            println!("Nothing is checked yet. Read labs/README.md first: it says why messaging.")
        }
    }
    println!("\n{BOLD}Go on{BOLD:#}");
    let commands = [
        (
            format!("just lab {number}"),
            "check your lab; it names the next hole",
        ),
        (format!("just watch {number}"), "the same at each save"),
        (
            format!("just hint {number}"),
            "a hint for that hole; again for a stronger one",
        ),
        (
            format!("just run {number}"),
            "start the services and try them by hand",
        ),
        (format!("just diff {number}"), "your code beside ours"),
    ];
    for (command, what) in commands {
        println!("  {TYPE}{command:<16}{TYPE:#}{what}");
    }
    let readme = paths.short(&here.readme());
    println!("  {DIM}the text: {readme}{DIM:#}");
    println!("\n{BOLD}Chapters{BOLD:#}");
    for chapter in &chapters {
        println!("  {}", line_of(paths, chapter));
    }
    println!("\n  {TYPE}just help{TYPE:#}       all commands");
    Ok(ExitCode::SUCCESS)
}

/// The lab that was checked last.
fn last<'a>(paths: &Paths, chapters: &'a [Chapter]) -> Option<(&'a Chapter, Report)> {
    let checked = chapters
        .iter()
        .filter_map(|chapter| Some((chapter, Report::of(paths, chapter)?)));
    checked.max_by_key(|(_, report)| report.when)
}

fn print_last(paths: &Paths, chapter: &Chapter, report: &Report) {
    let heading = chapter.heading();
    let when = report.when.map_or(String::new(), ago);
    println!("{BOLD}Lab {heading}{BOLD:#}  {DIM}checked {when}{DIM:#}");
    for Score { part, passed, all } in &report.parts {
        println!("  {part}: {passed} of {all} checks pass");
    }
    let src = chapter.lab.join("src");
    if report.is_done() {
        println!("  {GOOD}done{GOOD:#}");
    } else if let Some(hole) = go_on(chapter, report) {
        let place = match holes::locate(&src, hole) {
            Ok(Some((file, line))) => format!(", {}:{line}", paths.short(&file)),
            _ => String::new(),
        };
        println!("  next: HOLE {hole}{place}");
    }
}

/// The hole to go on with: the one that the last check named, or the first that is open.
pub fn go_on(chapter: &Chapter, report: &Report) -> Option<u32> {
    let named = report.next.as_ref().map(|next| next.hole);
    let open = || holes::open_in_tree(&chapter.lab.join("src"));
    named.or_else(|| open().first().copied())
}

/// `02 · Single queue`, and how far the student has come in it.
fn line_of(paths: &Paths, chapter: &Chapter) -> String {
    let state = match Report::of(paths, chapter) {
        None => String::new(),
        Some(report) if report.is_done() => format!("  {GOOD}✔{GOOD:#}"),
        Some(report) => {
            let parts: Vec<String> = report.parts.iter().map(Score::to_string).collect();
            format!("  {DIM}{}{DIM:#}", parts.join(", "))
        }
    };
    format!("{}{state}", chapter.heading())
}

/// `3 minutes ago`.
fn ago(when: SystemTime) -> String {
    let seconds = when.elapsed().unwrap_or_default().as_secs();
    match seconds {
        ..60 => "just now".to_owned(),
        60..3600 => count(seconds / 60, "minute"),
        3600..86_400 => count(seconds / 3600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

fn count(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}
