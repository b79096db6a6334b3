//! `hunt NN`: runs a wrong answer, unnamed, and shows what its check saw; the student says in which hole
//! it is and what is wrong. Then the patch is shown.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result};
use command::Which;
use course::chapter::Chapter;
use course::holes::{self, Place};
use course::mutants::Mutant;
use course::paths::Paths;
use process::stop::Ended;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};
use terminal::{BAD, BOLD, DIM, GOOD, TYPE, WIDTH, labelled, user_error, width};

use crate::answers::Answers;
use crate::kept;
use crate::runs::{Runs, Seen};

/// From how many causes to choose.
const CAUSES: usize = 4;
/// How many of the wrong causes are of the same hole, where it has so many.
const NEAR: usize = 2;
/// The seeds that are drawn when none is given: short enough to say aloud in a class.
const SEEDS: std::ops::Range<u64> = 1..1000;

/// What `hunt` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Hunt the same wrong answer as others with this number
    #[arg(long)]
    seed: Option<u64>,
    /// Hole and cause by number, where nobody can type them: 3,2
    #[arg(long, value_name = "HOLE,CAUSE", value_delimiter = ',')]
    answers: Option<Vec<usize>>,
}

/// `hunt.json`: all rounds so far.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Score {
    hunt: u32,
    rounds: Vec<Round>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Round {
    seed: u64,
    mutant: String,
    /// Whether the student found the hole, and the cause.
    hole: bool,
    cause: bool,
}

/// What is hunted, and what there is to choose from.
#[derive(Debug)]
struct Target {
    seed: u64,
    mutant: Mutant,
    /// The holes that it changes.
    holes: BTreeSet<u32>,
    /// What is wrong, in four sentences of which one is true.
    causes: Vec<String>,
}

/// Runs a wrong answer, asks, shows the patch and keeps the score.
///
/// # Errors
/// When nobody answers, or the run cannot be done.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let number = &chapter.number;
    let places = holes::in_tree(&chapter.solution.join("src"))?;
    let mutants = Mutant::all(&chapter)?;
    // The student looks for a mistake in a hole, not in given code.
    if mutants
        .iter()
        .all(|mutant| mutant.holes(&places).is_empty())
    {
        return Err(user_error(
            format!("chapter {number} has no wrong answers to hunt"),
            format!("go on: just lab {number}"),
        ));
    }
    let folder = kept::folder(paths, &chapter);
    let file = folder.join("hunt.json");
    let mut score: Score = kept::load(&file);
    let target = match args.seed {
        Some(seed) => Target::draw(&mutants, &places, seed)?,
        None => Target::new(&mutants, &places, &score)?,
    };
    let again = format!("just hunt {number} --seed {}", target.seed);
    let choices = [places.len(), target.causes.len()];
    let mut answers = Answers::new(args.answers.as_deref(), &choices, &again)?;

    let mut runs = match Runs::build(paths, &chapter, folder.join("hunt"))? {
        Ended::Done(runs) => runs,
        Ended::Stopped(code) => return Ok(code),
    };
    // Its name would tell too much.
    let program = runs.mutant(&target.mutant, &format!("hunt-{number}"))?;
    let seed = target.seed.to_string();
    let check = (&*target.mutant.check, &["--seed", &*seed][..]);
    let seen = runs.run(check, Some(&program), "", &again)?;
    if seen.passed {
        return Err(user_error(
            format!(
                "the check {} saw nothing wrong this time, so there is no trail",
                check.0
            ),
            format!("run it again: {again}"),
        ));
    }
    heading(&chapter, &again);
    evidence(paths, &seen);

    let (hole, cause) = ask(&places, &target, &mut answers)?;
    let found = Round {
        seed: target.seed,
        mutant: target.mutant.file.clone(),
        hole: target.holes.contains(&hole),
        cause: cause == target.mutant.wrong,
    };
    reveal(&target, hole, &found);
    score.hunt = 1;
    score.rounds.push(found);
    let (all, holes, causes) = score.sum();
    kept::save(&file, &score)?;
    println!();
    println!(
        "{BOLD}{holes} of {all} holes and {causes} of {all} causes found{BOLD:#} · another: \
         {TYPE}just hunt {number}{TYPE:#}"
    );
    Ok(ExitCode::SUCCESS)
}

impl Target {
    /// One that the student has not found yet, if one is left.
    fn new(mutants: &[Mutant], places: &[Place], score: &Score) -> Result<Self> {
        let found = |target: &Self| {
            let mut rounds = score.rounds.iter();
            rounds.any(|round| round.mutant == target.mutant.file && round.hole && round.cause)
        };
        let mut target = Self::draw(mutants, places, rand::random_range(SEEDS))?;
        for _ in SEEDS {
            if !found(&target) {
                break;
            }
            target = Self::draw(mutants, places, rand::random_range(SEEDS))?;
        }
        Ok(target)
    }

    /// The one of this seed.
    fn draw(mutants: &[Mutant], places: &[Place], seed: u64) -> Result<Self> {
        let in_holes: Vec<(&Mutant, BTreeSet<u32>)> = mutants
            .iter()
            .map(|mutant| (mutant, mutant.holes(places)))
            .filter(|(_, holes)| !holes.is_empty())
            .collect();
        let mut chance = StdRng::seed_from_u64(seed);
        let (mutant, holes) = in_holes.choose(&mut chance).context("no mutant")?;
        // Another one that the same check catches on the same words would be as right.
        let differs = |other: &&Mutant| {
            other.wrong != mutant.wrong
                && (&other.check, &other.text) != (&mutant.check, &mutant.text)
        };
        let mut others: Vec<&Mutant> = mutants.iter().filter(differs).collect();
        others.shuffle(&mut chance);
        // Two of the same hole, so that who knows the hole must still read the evidence.
        let is_near = |other: &&Mutant| {
            let same = |(one, theirs): &(&Mutant, BTreeSet<u32>)| {
                one.file == other.file && !theirs.is_disjoint(holes)
            };
            in_holes.iter().any(same)
        };
        let (near, far): (Vec<&Mutant>, Vec<&Mutant>) = others.into_iter().partition(is_near);
        let near_first = near
            .iter()
            .take(NEAR)
            .chain(&far)
            .chain(near.iter().skip(NEAR));
        let mut causes: Vec<&str> = Vec::new();
        for other in near_first {
            if causes.len() < CAUSES - 1 && !causes.contains(&&*other.wrong) {
                causes.push(&other.wrong);
            }
        }
        causes.push(&mutant.wrong);
        causes.shuffle(&mut chance);
        Ok(Self {
            seed,
            holes: holes.clone(),
            causes: causes.into_iter().map(str::to_owned).collect(),
            mutant: (*mutant).clone(),
        })
    }
}

impl Score {
    /// The rounds, and how many holes and causes were found in them.
    fn sum(&self) -> (usize, usize, usize) {
        let count = |is: fn(&&Round) -> bool| self.rounds.iter().filter(is).count();
        (
            self.rounds.len(),
            count(|round| round.hole),
            count(|round| round.cause),
        )
    }
}

fn heading(chapter: &Chapter, again: &str) {
    let left = format!("Hunt {}", chapter.heading());
    let gap = WIDTH.saturating_sub(width(&left) + width(again)).max(2);
    println!();
    println!("{BOLD}{left}{BOLD:#}{:gap$}{DIM}{again}{DIM:#}", "");
    println!("Somebody filled the holes and made one mistake. This is what the check saw.");
    println!();
}

/// What the check saw; neither its hint nor its hole.
fn evidence(paths: &Paths, seen: &Seen) {
    let part = |label: &str, text: &str| {
        println!(
            "{}",
            labelled(&format!("      {DIM}{label}{DIM:#}"), 16, text)
        );
    };
    println!("  {BAD}✘{BAD:#} {}", seen.says);
    for (label, text) in &seen.failure {
        part(label, text);
    }
    part("journal", &paths.short(&seen.journal));
    part(
        "",
        "each message, with its time; the services' logs are beside it",
    );
}

/// Asks for the hole, then for the cause.
fn ask(places: &[Place], target: &Target, answers: &mut Answers) -> Result<(u32, String)> {
    println!();
    println!("{BOLD}Which hole is wrong?{BOLD:#}");
    // Holes are numbered from 1, so the choice is the hole.
    for (index, place) in places.iter().enumerate() {
        let (choice, hole) = (index + 1, &place.hole);
        let label = format!("  {choice:>2}");
        println!("{}", labelled(&label, 6, &hole.task));
    }
    let hole = answers.next("   HOLE", places.len())?;
    println!();
    println!("{BOLD}What is wrong?{BOLD:#}");
    for (index, cause) in target.causes.iter().enumerate() {
        println!("{}", labelled(&format!("  {:>2}", index + 1), 6, cause));
    }
    let cause = answers.next("   cause", target.causes.len())?;
    Ok((
        places[hole - 1].hole.number,
        target.causes[cause - 1].clone(),
    ))
}

/// Says what was right, and shows the patch.
fn reveal(target: &Target, hole: u32, found: &Round) {
    let mark = |right: bool| match right {
        true => format!("{GOOD}✔{GOOD:#}"),
        false => format!("{BAD}✘{BAD:#}"),
    };
    let holes: Vec<String> = target
        .holes
        .iter()
        .map(|hole| format!("HOLE {hole}"))
        .collect();
    let holes = holes.join(" and ");
    let hole = match found.hole {
        true => format!("the hole is {holes}"),
        false => format!("the hole is {holes}, not HOLE {hole}"),
    };
    let cause = format!("the cause: {}", target.mutant.wrong);
    println!();
    println!("{}", labelled(&mark(found.hole), 2, &hole));
    println!("{}", labelled(&mark(found.cause), 2, &cause));
    println!();
    println!("{DIM}from the solution to the wrong answer:{DIM:#}");
    for line in target.mutant.diff.lines() {
        match line.chars().next() {
            Some('+') => println!("{GOOD}{line}{GOOD:#}"),
            Some('-') => println!("{BAD}{line}{BAD:#}"),
            _ => println!("{line}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn chapters() -> Vec<(Chapter, Vec<Place>)> {
        let root = Paths::find().unwrap().root;
        let chapters = Chapter::all(&root).unwrap().into_iter();
        let places = |chapter: Chapter| {
            let places = holes::in_tree(&chapter.solution.join("src")).unwrap();
            (chapter, places)
        };
        chapters.map(places).collect()
    }

    #[test]
    fn each_chapter_can_be_hunted() {
        for (chapter, places) in chapters() {
            let name = &chapter.name;
            let mut different = BTreeSet::new();
            let mutants = Mutant::all(&chapter).unwrap();
            let in_holes = mutants
                .iter()
                .filter(|one| !one.holes(&places).is_empty())
                .count();
            for seed in SEEDS {
                if seed > 50 && different.len() == in_holes {
                    break;
                }
                let target = Target::draw(&mutants, &places, seed).unwrap();
                let causes: BTreeSet<&String> = target.causes.iter().collect();
                assert_eq!(causes.len(), CAUSES, "{name} --seed {seed}");
                let mutant = &target.mutant;
                assert!(causes.contains(&mutant.wrong), "{name} --seed {seed}");
                assert!(!target.holes.is_empty(), "{name} --seed {seed}");
                different.insert(mutant.file.clone());
            }
            assert_eq!(different.len(), in_holes, "{name}: seeds reach all");
            assert!(different.len() >= 6, "{name}: {different:?}");
        }
    }

    #[test]
    fn the_same_seed_is_the_same_hunt() {
        let (chapter, places) = chapters().swap_remove(0);
        let mutants = Mutant::all(&chapter).unwrap();
        let draw = |seed| Target::draw(&mutants, &places, seed).unwrap();
        for seed in 1..20 {
            assert_eq!(draw(seed).mutant, draw(seed).mutant);
            assert_eq!(draw(seed).causes, draw(seed).causes);
        }
        assert!((1..20).any(|seed| draw(seed).mutant != draw(seed + 1).mutant));
    }

    #[test]
    fn what_was_found_is_not_drawn_again_while_others_are_left() {
        let (chapter, places) = chapters().swap_remove(0);
        let mut score = Score::default();
        let mutants = Mutant::all(&chapter).unwrap();
        let in_holes = mutants.iter().filter(|one| !one.holes(&places).is_empty());
        let mut hunted: Vec<Mutant> = in_holes.cloned().collect();
        let last = hunted.pop().unwrap();
        score.rounds.extend(hunted.into_iter().map(|mutant| Round {
            seed: 1,
            mutant: mutant.file,
            hole: true,
            cause: true,
        }));
        let target = Target::new(&mutants, &places, &score).unwrap();
        assert_eq!(target.mutant, last);
        assert_eq!(score.sum().0, score.sum().2);
    }
}
