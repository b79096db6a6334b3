//! `just` alone: where the student is, and the handful of commands that go on from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anstream::println;
use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::holes;
use course::paths::Paths;
use serde::Deserialize;

use terminal::{BOLD, DIM, GOOD, TYPE};

/// What this page needs of a `report.json`.
#[derive(Debug, Default, Deserialize)]
struct Report {
    status: String,
    passed: usize,
    #[serde(default)]
    parts: Vec<Score>,
    next: Option<Next>,
}

#[derive(Debug, Deserialize)]
struct Score {
    part: String,
    passed: usize,
    all: usize,
}

#[derive(Debug, Deserialize)]
struct Next {
    hole: u32,
}

/// The last check of a lab.
struct Last {
    chapter: Chapter,
    report: Report,
    when: SystemTime,
}

/// The chapter that the student is at: the one checked last or, if that one passes, the one after it.
/// Before the first check, the first chapter.
///
/// # Errors
/// When there are no chapters.
pub fn current(paths: &Paths) -> Result<Chapter> {
    let chapters = Chapter::all(&paths.root)?;
    let at = match last(paths, &chapters) {
        None => 0,
        Some(last) => {
            let at = chapters.iter().position(|one| *one == last.chapter);
            at.unwrap_or(0) + usize::from(last.report.status == "pass")
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
        Some(last) => print_last(paths, &last),
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
fn last(paths: &Paths, chapters: &[Chapter]) -> Option<Last> {
    let checked = chapters.iter().filter_map(|chapter| {
        let file = report_of(paths, chapter);
        let when = fs::metadata(&file).ok()?.modified().ok()?;
        let report = read(&file)?;
        Some(Last {
            chapter: chapter.clone(),
            report,
            when,
        })
    });
    checked.max_by_key(|last| last.when)
}

fn report_of(paths: &Paths, chapter: &Chapter) -> PathBuf {
    let folder = paths.data().join(chapter.run_folder(Variant::Lab));
    folder.join("report.json")
}

fn read(file: &Path) -> Option<Report> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn print_last(paths: &Paths, last: &Last) {
    let heading = last.chapter.heading();
    println!(
        "{BOLD}Lab {heading}{BOLD:#}  {DIM}checked {}{DIM:#}",
        ago(last.when)
    );
    for Score { part, passed, all } in &last.report.parts {
        println!("  {part}: {passed} of {all} checks pass");
    }
    if last.report.parts.is_empty() {
        println!("  {} checks pass", last.report.passed);
    }
    let src = last.chapter.lab.join("src");
    if let Some(Next { hole }) = last.report.next {
        let place = match holes::locate(&src, hole) {
            Ok(Some((file, line))) => format!(", {}:{line}", paths.short(&file)),
            _ => String::new(),
        };
        println!("  next: HOLE {hole}{place}");
    } else if last.report.status == "pass" {
        println!("  {GOOD}done{GOOD:#}");
    }
}

/// `02 · Single queue`, and how far the student has come in it.
fn line_of(paths: &Paths, chapter: &Chapter) -> String {
    let state = match read(&report_of(paths, chapter)) {
        None => String::new(),
        Some(report) if report.status == "pass" => format!("  {GOOD}✔{GOOD:#}"),
        Some(report) => {
            let parts = report.parts.iter();
            let parts = parts.map(|one| format!("{} {} of {}", one.part, one.passed, one.all));
            let parts: Vec<String> = parts.collect();
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
