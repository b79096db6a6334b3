//! `predict NN`: asks a chapter's questions first, then runs what they are about, and shows what was seen
//! beside each guess.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anstream::{eprintln, println};
use anyhow::{Context, Result};
use command::Which;
use course::chapter::Chapter;
use course::manifest::{Prediction, ServiceManifest};
use course::mutants::Mutant;
use course::paths::Paths;
use process::stop::Ended;
use serde::Serialize;
use terminal::{BAD, BOLD, DIM, GOOD, NOTE, TYPE, labelled, user_error};

use crate::answers::Answers;
use crate::kept;
use crate::runs::{Runs, Seen};

/// The column at which texts begin.
const TEXT: usize = 13;

/// What `predict` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Your answers by number, where nobody can type them: 2,1,3
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    answers: Option<Vec<usize>>,
}

/// `predictions.json`.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    predictions: u32,
    answers: &'a [Answer],
}

/// One answer, and what was seen once it is run.
#[derive(Debug, Serialize)]
struct Answer {
    ask: String,
    guess: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
}

/// Asks all questions, keeps the answers, then runs and shows.
///
/// # Errors
/// When the chapter has no questions, nobody answers, or a run cannot be done.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let number = &chapter.number;
    let questions = ServiceManifest::of(&paths.root, &chapter)?.predict;
    if questions.is_empty() {
        return Err(user_error(
            format!("chapter {number} asks for no predictions"),
            format!("just hunt {number}, or go on: just lab {number}"),
        ));
    }
    let command = format!("just predict {number}");
    let choices: Vec<usize> = questions.iter().map(|asked| asked.choices.len()).collect();
    let mut answers = Answers::new(args.answers.as_deref(), &choices, &command)?;

    println!("{BOLD}Predict {}{BOLD:#}", chapter.heading());
    println!("Answer first. Nothing runs before the last answer.");
    let mut guesses = Vec::new();
    for (index, asked) in questions.iter().enumerate() {
        guesses.push(ask(index + 1, asked, &mut answers)?);
    }
    let folder = kept::folder(paths, &chapter);
    let file = folder.join("predictions.json");
    keep(&file, &guesses)?;
    println!();
    println!("Your answers are kept in {}. Now look.", paths.short(&file));

    let mut runs = match Runs::build(paths, &chapter, folder.join("predict"))? {
        Ended::Done(runs) => runs,
        Ended::Stopped(code) => return Ok(code),
    };
    for (index, asked) in questions.iter().enumerate() {
        println!();
        let seen = look(&mut runs, &chapter, index + 1, asked, &command)?;
        let journal = fs::read_to_string(&seen.journal)
            .with_context(|| format!("cannot read {}", seen.journal.display()))?;
        let what = asked.seen(&journal, seen.passed)?;
        show(paths, index + 1, asked, &guesses[index].guess, &what, &seen);
        guesses[index].seen = Some(what);
        keep(&file, &guesses)?;
    }
    let right = guesses
        .iter()
        .filter(|one| one.seen.as_ref() == Some(&one.guess));
    let (right, all) = (right.count(), guesses.len());
    println!();
    println!("{BOLD}{right} of {all} as predicted{BOLD:#} · next: {TYPE}just lab {number}{TYPE:#}");
    Ok(ExitCode::SUCCESS)
}

/// A text that a manifest may break anywhere, for the terminal to break.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asks one question.
fn ask(number: usize, asked: &Prediction, answers: &mut Answers) -> Result<Answer> {
    println!();
    println!(
        "{}",
        labelled(&format!("{BOLD}{number}{BOLD:#}"), 3, &joined(&asked.ask))
    );
    for (index, choice) in asked.choices.iter().enumerate() {
        println!("{}", labelled(&format!("     {}", index + 1), 8, choice));
    }
    let guess = answers.next("   your guess", asked.choices.len())?;
    Ok(Answer {
        ask: asked.ask.clone(),
        guess: asked.choices[guess - 1].clone(),
        seen: None,
    })
}

fn keep(file: &Path, answers: &[Answer]) -> Result<()> {
    let predictions = 1;
    kept::save(
        file,
        &Kept {
            predictions,
            answers,
        },
    )
}

/// Runs what a question is about.
fn look(
    runs: &mut Runs,
    chapter: &Chapter,
    number: usize,
    asked: &Prediction,
    command: &str,
) -> Result<Seen> {
    let program = match &asked.mutant {
        None => None,
        Some(file) => {
            let mutant = Mutant::named(chapter, file)?;
            let name = format!("predict-{}-{file}", chapter.number);
            Some(runs.mutant(&mutant, &name)?)
        }
    };
    let folder = number.to_string();
    let seen = runs.run((&asked.run, &[]), program.as_deref(), &folder, command)?;
    if program.is_none() && !seen.passed {
        eprintln!(
            "{NOTE}·{NOTE:#} the solution failed its check {} here: what follows is from that run",
            asked.run
        );
    }
    Ok(seen)
}

/// Shows what was seen beside the guess.
fn show(paths: &Paths, number: usize, asked: &Prediction, guess: &str, what: &str, seen: &Seen) {
    let part = |label: &str, text: &str| {
        println!(
            "{}",
            labelled(&format!("   {DIM}{label}{DIM:#}"), TEXT, text)
        );
    };
    let mark = match guess == what {
        true => format!("{GOOD}✔{GOOD:#}"),
        false => format!("{BAD}✘{BAD:#}"),
    };
    println!(
        "{}",
        labelled(&format!("{BOLD}{number}{BOLD:#}"), 3, &joined(&asked.ask))
    );
    part("guessed", guess);
    part("seen", &format!("{what} {mark}"));
    part("why", &joined(&asked.why));
    if what != asked.answer {
        part(
            "but",
            &format!(
                "the reason above is for `{}`: this run was another. Look at its journal",
                asked.answer
            ),
        );
    }
    let of = match &asked.mutant {
        Some(mutant) => format!("the wrong answer {mutant}"),
        None => "the solution".to_owned(),
    };
    part("run", &format!("check {} of {of}", asked.run));
    part("journal", &paths.short(&seen.journal));
}
