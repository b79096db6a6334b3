//! Holds each chapter to the path that a student walks: short texts, two parts, and for each hole the
//! checks that it turns green. (`proofs` runs the ladder itself.)
#![allow(clippy::unwrap_used)] // a test that cannot read the chapters should stop there

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use course::chapter::Chapter;
use course::hints;
use course::holes;
use course::manifest::ServiceManifest;
use course::mutants::Mutant;
use course::parts::{Part, after};
use course::paths::Paths;

/// The most words before the first hole, and in all, without the hints.
const LESSON: usize = 700;
const TEXT: usize = 3_000;

/// The least hints that a hole has.
const RUNGS: usize = 3;

/// The names of checks by hole.
type Ladder = BTreeMap<u32, BTreeSet<String>>;

fn chapters() -> Vec<(Chapter, String)> {
    let root = Paths::find().unwrap().root;
    let chapters = Chapter::all(&root).unwrap().into_iter();
    chapters
        .map(|chapter| {
            let text = fs::read_to_string(chapter.readme()).unwrap();
            (chapter, text)
        })
        .collect()
}

/// The checks as `tests/checks.rs` lists them: `check!(name, HOLE 4, "…")`.
fn listed(chapter: &Chapter) -> Ladder {
    let source = fs::read_to_string(chapter.lab.join("tests/checks.rs")).unwrap();
    let mut ladder = Ladder::new();
    for entry in source.split("check!(").skip(1) {
        let Some((name, rest)) = entry.split_once(", HOLE ") else {
            continue;
        };
        let hole = rest.split(',').next().unwrap().trim().parse().unwrap();
        ladder
            .entry(hole)
            .or_default()
            .insert(name.trim().replace('_', "-"));
    }
    ladder
}

/// The checks as the README's table of holes lists them: `| 4 | … | `name`, `name` |`. A row without a
/// number goes on with the hole above.
fn told(text: &str) -> Ladder {
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with("| hole |"))
        .skip(2);
    let mut ladder = Ladder::new();
    let mut hole = 0;
    for row in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        hole = cells[0].parse().unwrap_or(hole);
        let names = cells.last().unwrap().split('`').skip(1).step_by(2);
        let of_hole = ladder.entry(hole).or_default();
        of_hole.extend(names.map(str::to_owned));
    }
    ladder
}

#[test]
fn the_table_of_holes_names_the_checks_that_each_turns_green() {
    for (chapter, text) in chapters() {
        assert_eq!(
            told(&text),
            listed(&chapter),
            "{}",
            chapter.readme().display()
        );
    }
}

#[test]
fn each_hole_has_a_check_and_hints() {
    for (chapter, text) in chapters() {
        let numbers: Vec<u32> = holes::in_tree(&chapter.solution.join("src"))
            .unwrap()
            .iter()
            .map(|place| place.hole.number)
            .collect();
        let ladder: Vec<u32> = listed(&chapter).into_keys().collect();
        assert_eq!(ladder, numbers, "{}: the holes of the checks", chapter.name);
        let hints = hints::parse(&text).unwrap();
        for hole in numbers {
            let rungs = hints.get(&hole).map_or(0, Vec::len);
            assert!(
                rungs >= RUNGS,
                "{}, HOLE {hole}: {rungs} hints",
                chapter.name
            );
        }
    }
}

/// A check that no mutant needs may as well not be there.
#[test]
fn each_check_has_a_mutant_that_it_catches() {
    for (chapter, _) in chapters() {
        let mutants = Mutant::all(&chapter).unwrap().into_iter();
        let caught: BTreeSet<String> = mutants.map(|mutant| mutant.check).collect();
        let checks = listed(&chapter).into_values().flatten();
        let needless: Vec<String> = checks.filter(|check| !caught.contains(check)).collect();
        assert!(needless.is_empty(), "{}: {needless:?}", chapter.name);
    }
}

#[test]
fn the_lesson_is_short_and_so_is_the_text() {
    let words = |text: &str| text.split_whitespace().count();
    for (chapter, text) in chapters() {
        let name = &chapter.name;
        let text = text.split("\n## Hints").next().unwrap();
        let lesson = text.split("\n### HOLE").next().unwrap();
        assert!(
            words(lesson) <= LESSON,
            "{name}: {} words before HOLE 1",
            words(lesson)
        );
        assert!(words(text) <= TEXT, "{name}: {} words", words(text));
    }
}

/// The report prints this when a part passes.
#[test]
fn each_part_says_what_was_learnt() {
    let root = Paths::find().unwrap().root;
    for (chapter, text) in chapters() {
        let manifest = ServiceManifest::of(&root, &chapter).unwrap();
        let last = holes::in_tree(&chapter.solution.join("src")).unwrap().len();
        let part_a = manifest.part_a.unwrap_or_default() as usize;
        assert!(
            (1..last).contains(&part_a),
            "{}: part-a = {part_a} of {last}",
            chapter.name
        );
        assert!(manifest.minutes.is_some(), "{}: no minutes", chapter.name);
        for part in Part::ALL {
            let text = after(&text, part);
            let learnt = text.lines().filter(|line| line.starts_with("- ")).count();
            let has = |start: &str| text.lines().any(|line| line.starts_with(start));
            assert_eq!(learnt, 3, "{}, after {part}: {text}", chapter.name);
            assert!(
                has("Discuss: ") && has("Next: "),
                "{}, after {part}",
                chapter.name
            );
        }
    }
}
