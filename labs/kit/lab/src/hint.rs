//! `hint NN [HOLE]`: prints the next hint of a hole.

use std::fs;
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::hints::{self, Hints, SeenHints};
use course::holes;
use course::paths::Paths;
use course::report::Report;

use crate::here;
use command::Which;
use terminal::{BOLD, DIM, TYPE};
use terminal::{WIDTH, labelled, user_error};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The hole's number; by default the one that the last check pointed to
    #[arg(value_parser = clap::value_parser!(u32))]
    hole: Option<u32>,
    /// All hints of the hole at once
    #[arg(long)]
    all: bool,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let hints = read(paths, &chapter)?;
    let data = paths.data().join(chapter.run_folder(Variant::Lab));
    let report = Report::of(paths, &chapter);
    let pointed_to = || here::go_on(&chapter, report.as_ref()?);
    let Some(hole) = args.hole.or_else(pointed_to) else {
        list(paths, &chapter)?;
        return Ok(ExitCode::SUCCESS);
    };
    let texts = hints.get(&hole).filter(|texts| !texts.is_empty());
    let texts = texts.ok_or_else(|| no_hints(&chapter, hole, &hints))?;
    println!("{BOLD}HOLE {hole}{BOLD:#}{}", place(paths, &chapter, hole));
    if args.all {
        for (index, text) in texts.iter().enumerate() {
            let text = hints::lay_out(text, WIDTH);
            println!("\n{BOLD}hint {}{BOLD:#}\n{text}", index + 1);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(observed) = report.as_ref().and_then(|report| observed(report, hole)) {
        println!("\n{}", labelled(&format!("{DIM}seen{DIM:#}"), 6, observed));
    }
    let mut given = SeenHints::load(data.join("hints.json"));
    let again = given.all(hole, texts.len());
    let number = given.next(hole, texts.len());
    // The hint is printed even if the count cannot be saved.
    let kept = given.save();
    println!("\n{}\n", hints::lay_out(&texts[number - 1], WIDTH));
    let rest = match (kept, number == texts.len()) {
        (Err(error), _) => {
            format!("this hint will be printed again, the count cannot be saved: {error}")
        }
        (Ok(()), false) => "run it again for the next".to_owned(),
        (Ok(()), true) => format!(
            "{}the solution: {TYPE}just diff {}{TYPE:#}",
            if again { "(last hint) · " } else { "" },
            chapter.number,
        ),
    };
    println!("{DIM}hint {number} of {}{DIM:#} · {rest}", texts.len());
    Ok(ExitCode::SUCCESS)
}

fn read(paths: &Paths, chapter: &Chapter) -> Result<Hints> {
    let readme = chapter.readme();
    let name = paths.short(&readme);
    let text = fs::read_to_string(&readme).map_err(|error| {
        user_error(
            format!("the hints are in {name}, which cannot be read: {error}"),
            format!("git checkout {name}"),
        )
    })?;
    hints::parse(&text).with_context(|| name)
}

/// What the last check saw of this hole: a hint is about that.
fn observed(report: &Report, hole: u32) -> Option<&str> {
    let mut failures = report
        .checks
        .iter()
        .filter_map(|line| line.failure.as_ref());
    let of_hole = failures.find(|failure| failure.hole == hole)?;
    Some(&of_hole.observed)
}

/// ` · labs/02-single-queue/src/consumer.rs:41`, or nothing where the marker is gone.
fn place(paths: &Paths, chapter: &Chapter, hole: u32) -> String {
    match holes::locate(&chapter.lab.join("src"), hole) {
        Ok(Some((file, line))) => format!(" · {}:{line}", paths.short(&file)),
        _ => String::new(),
    }
}

fn list(paths: &Paths, chapter: &Chapter) -> Result<()> {
    // The solution's markers are intact, whatever a student did to theirs.
    let places = holes::in_tree(&chapter.solution.join("src"))?;
    println!("{BOLD}The holes of lab {}{BOLD:#}", chapter.heading());
    for holes::Place { hole, .. } in &places {
        println!(
            "{}",
            labelled(&format!("  {:>2}", hole.number), 6, &hole.task)
        );
        let place = place(paths, chapter, hole.number);
        println!("      {DIM}{}{DIM:#}", place.trim_start_matches(" · "));
    }
    let first = places.first().map_or(1, |place| place.hole.number);
    println!(
        "A hint for one: {TYPE}just hint {} {first}{TYPE:#}",
        chapter.number
    );
    Ok(())
}

fn no_hints(chapter: &Chapter, hole: u32, hints: &Hints) -> anyhow::Error {
    let number = &chapter.number;
    let known: Vec<String> = hints.keys().map(ToString::to_string).collect();
    let what = format!("lab {number} has no hints for a HOLE {hole}");
    match known.as_slice() {
        [] => user_error(what, "read the chapter's README.md"),
        known => user_error(
            what,
            format!("just hint {number} HOLE, with one of {}", known.join(", ")),
        ),
    }
}
