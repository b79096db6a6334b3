//! Tests `predict`, `hunt` and `catch-up`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use course::chapter::Chapter;
use course::manifest::ServiceManifest;
use course::paths::Paths;

use crate::{Lab, Said, said};

/// The command in the clone's own target folder, where cargo has built already.
fn lab(args: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command
        .args(args)
        .env("LAB_PARENT", std::process::id().to_string())
        .stdin(Stdio::null());
    said(&mut command)
}

/// A file of a student's answers. A test puts it back as it was.
struct Kept(PathBuf, Option<Vec<u8>>);

impl Kept {
    fn new(chapter: &str, file: &str) -> Self {
        let file = Paths::find().unwrap().data().join(chapter).join(file);
        let before = std::fs::read(&file).ok();
        let _ = std::fs::remove_file(&file);
        Self(file, before)
    }

    fn read(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&self.0).unwrap()).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = match &self.1 {
            Some(before) => std::fs::write(&self.0, before),
            None => std::fs::remove_file(&self.0),
        };
    }
}

#[test]
fn without_a_terminal_answers_are_asked_for_before_anything_is_built() {
    let lab = Lab::new("quiz");
    let unanswered = said(
        lab.command(&["hunt", "01", "--seed", "5"])
            .stdin(Stdio::null()),
    );
    assert_eq!(unanswered.code, Some(2));
    let says = "error: standard input is not a terminal, so nobody can answer here\n  \
                do   just hunt 01 --seed 5 --answers 1,1, with your numbers\n";
    assert_eq!(unanswered.err, says);
    assert_eq!(unanswered.out, "");
    let many = lab.say(&["hunt", "01", "--answers", "1,1,1"]);
    assert_eq!(many.code, Some(2));
    assert!(
        many.err.contains("3 answers were given to 2 questions"),
        "{}",
        many.err
    );
    let none = lab.say(&["hunt", "01", "--answers", "1,5"]);
    assert!(
        none.err.contains("answer 2 is 5; its choices are 1 to 4"),
        "{}",
        none.err
    );
    let word = lab.say(&["predict", "01", "--answers", "one"]);
    assert_eq!(word.code, Some(2));
}

#[test]
fn catch_up_names_the_holes_that_there_are() {
    let lab = Lab::new("catch-up");
    let said = lab.say(&["catch-up", "01", "77"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("no HOLE 77: its holes are 1 to "),
        "{}",
        said.err
    );
    assert_eq!(lab.say(&["catch-up", "01"]).code, Some(2));
}

#[test]
fn a_hunt_shows_the_evidence_then_the_patch_and_keeps_the_score() {
    let kept = Kept::new("01", "hunt.json");
    let hunted = lab(&["hunt", "01", "--seed", "5", "--answers", "1,1"]);
    assert_eq!(hunted.code, Some(0), "{}{}", hunted.out, hunted.err);
    let (evidence, rest) = hunted.out.split_once("Which hole is wrong?").unwrap();
    for words in ["expected", "observed", "why", "target/lab/01/hunt/"] {
        assert!(evidence.contains(words), "no {words} in: {evidence}");
    }
    // The evidence names neither hole nor patch.
    let score = kept.read();
    let round = &score["rounds"][0];
    let mutant = round["mutant"].as_str().unwrap();
    let before = format!("{}{evidence}", hunted.err);
    for word in ["HOLE", "hint", mutant, "src/"] {
        assert!(!before.contains(word), "{word} in: {before}");
    }
    let (_, diff) = rest
        .split_once("from the solution to the wrong answer:")
        .unwrap();
    assert!(diff.contains("\n--- a/src/"), "{diff}");
    let found = |what: &str| usize::from(round[what] == true);
    let (holes, causes) = (found("hole"), found("cause"));
    let sum = format!("{holes} of 1 holes and {causes} of 1 causes found");
    assert!(diff.contains(&sum), "{diff}");
    for line in hunted.out.lines() {
        let is_patch = diff.contains(line);
        assert!(is_patch || line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn guesses_are_kept_and_what_was_seen_stands_beside_them() {
    let paths = Paths::find().unwrap();
    let chapters = Chapter::all(&paths.root).unwrap();
    let questions = |chapter: &Chapter| ServiceManifest::of(&paths.root, chapter).unwrap().predict;
    let Some(chapter) = chapters
        .iter()
        .find(|chapter| !questions(chapter).is_empty())
    else {
        return; // no chapter has questions yet
    };
    let questions = questions(chapter);
    let number = &chapter.number;
    let kept = Kept::new(number, "predictions.json");
    let ones = vec!["1"; questions.len()].join(",");
    let shown = lab(&["predict", number, "--answers", &ones]);
    assert_eq!(shown.code, Some(0), "{}{}", shown.out, shown.err);
    let (asked, seen) = shown.out.split_once("Now look.").unwrap();
    let answers = kept.read();
    let mut right = 0;
    for (index, question) in questions.iter().enumerate() {
        let answer = &answers["answers"][index];
        assert_eq!(answer["ask"], question.ask);
        assert_eq!(answer["guess"], question.choices[0]);
        // Whether it is the right answer is proved in `proofs`.
        assert!(answer["seen"].is_string(), "{answer}");
        right += usize::from(answer["seen"] == answer["guess"]);
        let first = question.ask.split(' ').next().unwrap();
        assert!(
            asked.contains(&format!("{}  {first}", index + 1)),
            "{asked}"
        );
    }
    assert!(!asked.contains("seen"), "{asked}");
    let sum = format!("{right} of {} as predicted", questions.len());
    assert!(seen.contains(&sum), "{seen}");
    for line in shown.out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
