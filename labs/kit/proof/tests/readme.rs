//! Checks that every command and every link in a text exists, and that the code in it is tested.
#![allow(clippy::unwrap_used)] // a test that cannot read the texts should stop there

use std::collections::{BTreeMap, BTreeSet};
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
        .filter(|word| !word.starts_with(['-', '#'])) // a flag, a comment
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

/// The targets of a text's links.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    let ends = markdown.split("](").skip(1);
    ends.filter_map(|rest| rest.split(')').next())
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
        for link in links(&words) {
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

/// The anchors that GitHub gives to a text's headings.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = markdown.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn each_link_to_a_heading_has_its_heading() {
    let mut dead = Vec::new();
    for text in texts() {
        let words = fs::read_to_string(&text).unwrap();
        for link in links(&words) {
            let Some((file, anchor)) = link.split_once('#') else {
                continue;
            };
            let target = match file {
                "" => text.clone(),
                file => text.with_file_name(file),
            };
            if link.contains("://") || target.extension().is_none_or(|ext| ext != "md") {
                continue;
            }
            let target = fs::read_to_string(target).unwrap_or_default();
            if !anchors(&target).contains(anchor) {
                dead.push(format!("{}: {link}", text.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn a_headings_anchor_is_githubs() {
    let text = "# What `0.1`, and 2?\n```sh\n# a comment\n```\n### HOLE 3: a part\n";
    let anchors = anchors(text);
    let anchors: Vec<&str> = anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["hole-3-a-part", "what-01-and-2"]);
}

/// `.ci/run` tests each series of its list; the broker's page promises the first to the last.
#[test]
fn the_brokers_page_promises_the_series_that_ci_tests() {
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
    let page = fs::read_to_string(root.join("labs/kit/broker/README.md")).unwrap();
    let promise = format!("({first} to {last})");
    assert!(
        page.contains(&promise),
        "labs/kit/broker/README.md does not say {promise}"
    );
    for text in texts() {
        for image in fs::read_to_string(&text)
            .unwrap()
            .split(" rabbitmq:")
            .skip(1)
        {
            let newest = image.starts_with(&format!("{last}-management"));
            assert!(newest, "{}: not rabbitmq:{last}-management", text.display());
        }
    }
}

/// The commands that the tables of a text explain. Such a table begins with `| type |`, and each of
/// its rows with the command.
fn explained(markdown: &str) -> BTreeSet<String> {
    let mut inside = false;
    let rows = markdown.lines().filter(|line| {
        inside = line.starts_with("| type |") || (inside && line.starts_with("|"));
        inside
    });
    let first_cells = rows.filter_map(|row| row.split('|').nth(1));
    first_cells
        .flat_map(|cell| code(cell).1)
        .flat_map(|typed| recipes_called(&typed))
        .collect()
}

#[test]
fn each_command_is_explained_in_one_page() {
    let root = Paths::find().unwrap().root;
    let mut pages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in texts() {
        let page = text.strip_prefix(&root).unwrap().display().to_string();
        for command in explained(&fs::read_to_string(&text).unwrap()) {
            pages.entry(command).or_default().push(page.clone());
        }
    }
    for recipe in recipes() {
        let pages = pages.remove(&recipe).unwrap_or_default();
        let pages_wanted = usize::from(!recipe.starts_with('_'));
        assert_eq!(
            pages.len(),
            pages_wanted,
            "tables of commands (`| type | …`) with `just {recipe}`: {pages:?}"
        );
    }
}

#[test]
fn commands_are_explained_in_the_first_cell_of_a_row() {
    let text =
        "| type | for |\n|---|---|\n| `just a NN`, `just b` | as `just c` |\n\n| `just d` |\n";
    let explained = explained(text);
    let explained: Vec<&str> = explained.iter().map(String::as_str).collect();
    assert_eq!(explained, ["a", "b"]);
}

/// `.ci/run` types what the README tells a new user to type.
#[test]
fn ci_runs_the_commands_of_the_readme() {
    let root = Paths::find().unwrap().root;
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let ci = fs::read_to_string(root.join(".ci/run")).unwrap();
    let (_, setup) = readme.split_once("\n## Set up\n").unwrap();
    let (setup, _) = setup.split_once("\n## ").unwrap();
    let typed: Vec<String> = code(setup).0;
    assert_eq!(
        typed,
        [
            "cargo install --locked just && just setup lab 02",
            "just test"
        ]
    );
    for command in typed.iter().filter_map(|line| line.split(" && ").last()) {
        let step = |line: &str| line.starts_with("step ") && line.ends_with(command);
        assert!(ci.lines().any(step), ".ci/run has no step `{command}`");
    }
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(Paths::find().unwrap().root.join("README.md")).unwrap();
    let words = readme.split_whitespace().count();
    assert!(words <= 700, "README.md has {words} words");
}

/// A text in which any white space is one space.
fn one_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sources of the solutions and of `labs/messaging`, with one space for any white space.
fn sources() -> Vec<String> {
    let root = Paths::find().unwrap().root;
    let mut found = Vec::new();
    for folder in ["solutions", "labs/messaging"].map(|folder| root.join(folder)) {
        let files = course::holes::files(&folder).unwrap().into_iter();
        let rust = files.filter(|file| file.extension().is_some_and(|ext| ext == "rs"));
        let texts = rust.map(|file| fs::read_to_string(folder.join(file)).unwrap());
        found.extend(texts.map(|text| one_spaced(&text)));
    }
    found
}

/// Each code block of the cheat sheet is in one file that is compiled. A line `// …` stands for lines
/// that it leaves out.
#[test]
fn the_cheat_sheet_quotes_code_that_compiles() {
    let root = Paths::find().unwrap().root;
    let sheet = fs::read_to_string(root.join("labs/CHEATSHEET.md")).unwrap();
    let sources = sources();
    let blocks = sheet.split("```rust\n").skip(1);
    let blocks: Vec<&str> = blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 4, "only {} blocks of code", blocks.len());
    for block in blocks {
        let quoted = |source: &String| {
            let mut rest = source.as_str();
            block.split("// …\n").all(|part| {
                let found = rest.split_once(one_spaced(part).as_str());
                found.map(|(_, after)| rest = after).is_some()
            })
        };
        assert!(
            sources.iter().any(quoted),
            "labs/CHEATSHEET.md: no solution has\n{block}"
        );
    }
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
    assert!(recipes_called("just   # where you are").is_empty());
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
