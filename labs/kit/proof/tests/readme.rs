//! Checks that every command and every link in a text exists.
#![allow(clippy::unwrap_used)] // a test that cannot read the texts should stop there

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use broker::{NEWEST, OLDEST};
use course::chapter::Chapter;
use course::manifest::{ServiceManifest, fill};
use course::paths::Paths;

/// The code in a Markdown text: each line of its blocks, and each span between backticks.
fn code(markdown: &str) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut spans) = (Vec::new(), Vec::new());
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            lines.push(line.trim().to_owned());
        } else {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    (lines, spans)
}

/// The recipes that a line of code calls: `lab` of `cd x && just lab 02`.
fn recipes_called(line: &str) -> Vec<String> {
    line.trim_start_matches(['$', ' '])
        .split(['&', ';', '|', '('])
        .filter_map(|command| command.trim().strip_prefix("just "))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter(|word| !word.starts_with('-'))
        .map(|word| word.trim_end_matches([',', '.', ')', ':']).to_owned())
        .collect()
}

/// The recipes of the justfile. A name with a leading `_` is for other recipes only.
fn recipes() -> BTreeSet<String> {
    let justfile = fs::read_to_string(Paths::find().unwrap().root.join("justfile")).unwrap();
    justfile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '_'))
        .filter(|line| !line.contains(":="))
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(head, _)| head.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Every Markdown file for people.
fn texts() -> Vec<PathBuf> {
    let root = Paths::find().unwrap().root;
    let mut found = ["README.md", ".github/CONTRIBUTING.md"]
        .map(|file| root.join(file))
        .to_vec();
    for folder in ["labs", "slides", "compose"] {
        found.extend(
            course::holes::files(&root.join(folder))
                .unwrap_or_default()
                .into_iter()
                .filter(|file| file.extension().is_some_and(|ext| ext == "md"))
                .map(|file| root.join(folder).join(file)),
        );
    }
    found
}

#[test]
fn each_command_that_a_text_names_exists() {
    let recipes = recipes();
    assert!(
        recipes.contains("lab") && recipes.contains("setup"),
        "{recipes:?}"
    );
    let mut unknown = Vec::new();
    for text in texts() {
        let (lines, spans) = code(&fs::read_to_string(&text).unwrap());
        for line in lines.iter().chain(&spans) {
            for recipe in recipes_called(line) {
                if !recipes.contains(&recipe) {
                    unknown.push(format!("{}: `just {recipe}` in `{line}`", text.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "\n  {}\n", unknown.join("\n  "));
}

#[test]
fn each_link_within_the_repository_has_a_target() {
    let mut dead = Vec::new();
    let mut count = 0;
    for text in texts() {
        let folder = text.parent().unwrap();
        let words = fs::read_to_string(&text).unwrap();
        for link in words
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap_or_default();
            if link.contains("://") || file.is_empty() {
                continue;
            }
            count += 1;
            if !folder.join(file).exists() {
                dead.push(format!("{}: {link}", text.display()));
            }
        }
    }
    assert!(count > 5, "only {count} links were found");
    assert!(dead.is_empty(), "{dead:#?}");
}

/// `.ci/run` tests each series of its list; the README promises the first to the last.
#[test]
fn the_readme_promises_the_series_that_ci_tests() {
    let root = Paths::find().unwrap().root;
    let list = fs::read_to_string(root.join(".ci/rabbitmq-series")).unwrap();
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let series: Vec<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
    let (first, last) = (series.first().unwrap(), series.last().unwrap());
    assert_eq!(
        (*first, *last),
        (OLDEST, NEWEST),
        "labs/kit/broker/src/series.rs"
    );
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let promise = format!("({first} to {last})");
    assert!(
        readme.contains(&promise),
        "README.md does not say {promise}"
    );
}

#[test]
fn the_readme_names_each_command() {
    let readme = fs::read_to_string(Paths::find().unwrap().root.join("README.md")).unwrap();
    let (lines, spans) = code(&readme);
    let named: BTreeSet<String> = lines
        .iter()
        .chain(&spans)
        .flat_map(|line| recipes_called(line))
        .collect();
    let missing: Vec<String> = recipes()
        .into_iter()
        .filter(|recipe| !recipe.starts_with('_') && !named.contains(recipe))
        .collect();
    assert!(missing.is_empty(), "README.md names no `just {missing:?}`");
}

/// `just run 03 worker carol` in a line of code, without the lab's own flags and without a comment.
/// `None` for a line that does not run one program of chapter `number`.
fn program_run(line: &str, number: &str) -> Option<String> {
    let line = line.trim_start_matches(['$', ' ']);
    let line = line.split_once(" # ").map_or(line, |(code, _)| code);
    let mut rest = line.strip_prefix(&format!("just run {number} "))?.trim();
    while rest.starts_with("--") {
        rest = rest
            .split_once(' ')
            .map_or("", |(_, after)| after.trim_start());
    }
    (!rest.is_empty()).then(|| format!("just run {number} {rest}"))
}

#[test]
fn each_command_of_a_chapters_readme_is_in_its_manifest() {
    let paths = Paths::find().unwrap();
    let mut strangers = Vec::new();
    for chapter in Chapter::all(&paths.root).unwrap() {
        let Ok(text) = fs::read_to_string(chapter.readme()) else {
            continue; // an unfinished chapter
        };
        let manifest = ServiceManifest::of(&paths.root, &chapter).unwrap();
        let ports = manifest.ports();
        let tries: Vec<String> = manifest
            .tries
            .iter()
            .map(|line| fill(line, &ports).unwrap())
            .collect();
        for line in code(&text).0 {
            let curl = line.starts_with("curl ").then(|| line.clone());
            let typed = curl.or_else(|| program_run(&line, &chapter.number));
            if typed.is_some_and(|typed| !tries.contains(&typed)) {
                strangers.push(format!("{}: {line}", chapter.name));
            }
        }
    }
    assert!(
        strangers.is_empty(),
        "not in `try`:\n  {}\n",
        strangers.join("\n  ")
    );
}

#[test]
fn running_one_program_differs_from_running_all() {
    let of = |line| program_run(line, "03");
    let carol = Some("just run 03 worker carol".to_owned());
    assert_eq!(of("just run 03 worker carol"), carol);
    assert_eq!(
        of("$ just run 03 --solution worker carol   # joins in"),
        carol
    );
    assert_eq!(
        of("just run 03 consumer ada 'log.#'").as_deref(),
        Some("just run 03 consumer ada 'log.#'")
    );
    for all in [
        "just run 03",
        "just run 03 --watch",
        "just run 03  # all",
        "just run 02 history",
    ] {
        assert_eq!(of(all), None, "{all}");
    }
}

#[test]
fn commands_are_found_in_code_only() {
    let (lines, spans) = code("just now: `just lab 02`, `x`\n\n```sh\n$ just a && just b 1\n```\n");
    assert_eq!(lines, ["$ just a && just b 1"]);
    assert_eq!(spans, ["just lab 02", "x"]);
    assert_eq!(recipes_called(&lines[0]), ["a", "b"]);
    assert_eq!(
        recipes_called("cargo install --locked just && just setup lab 02"),
        ["setup"]
    );
    assert!(recipes_called("just --list").is_empty());
}

#[test]
fn the_page_on_other_languages_shows_the_tested_programs() {
    let root = Paths::find().unwrap().root;
    let page = fs::read_to_string(root.join("labs/JOINING.md")).unwrap();
    for (language, file) in [("js", "join.mjs"), ("python", "join.py")] {
        let program =
            fs::read_to_string(root.join("labs/kit/proof/tests/foreign").join(file)).unwrap();
        let block = format!("```{language}\n{program}```\n");
        assert!(
            page.contains(&block),
            "labs/JOINING.md does not quote {file}"
        );
    }
    for needs in ["package.json", "requirements.txt"] {
        let needs = root.join("labs/kit/proof/tests/foreign").join(needs);
        let needs = fs::read_to_string(needs).unwrap();
        let version = |c: char| !c.is_ascii_digit() && c != '.';
        let version = needs.split(version).find(|word| word.len() > 2).unwrap();
        assert!(
            page.contains(version),
            "labs/JOINING.md does not name version {version}"
        );
    }
}

/// The README shows a recorded verdict; its words must still be in the code.
#[test]
fn the_readmes_verdict_has_the_words_of_the_code() {
    let root = Paths::find().unwrap().root;
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let mut sources = String::new();
    let chapters = Chapter::all(&root).unwrap().into_iter();
    let tests = chapters.map(|chapter| chapter.lab.join("tests"));
    for folder in tests.chain([root.join("labs/kit/explain/src")]) {
        for file in course::holes::files(&folder).unwrap() {
            sources += &fs::read_to_string(folder.join(file)).unwrap();
        }
    }
    let said = |label: &str| {
        let line = readme
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(label));
        line.unwrap_or_else(|| panic!("no line `{label}`"))
            .trim()
            .to_owned()
    };
    for label in ["✘ a killed", "expected ", "why "] {
        let words = said(label);
        let words = words.split("   ").next().unwrap();
        assert!(sources.contains(words), "no longer in the code: {words}");
    }
}
