//! Holds the kit to its plan: rooms that are small, arrows that point downwards, and no
//! chapter's word in any of them. The plan is the table of `.github/CONTRIBUTING.md`.
#![allow(clippy::unwrap_used)] // a test that cannot read the tree should stop there

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use course::chapter::Chapter;
use course::{holes, manifest, paths::Paths};

/// The most lines of Rust that a room's `src` may have: what a person can get to know.
const LARGEST: usize = 3500;

fn root() -> PathBuf {
    Paths::find().unwrap().root
}

/// The kit's rooms, each with the paths and texts of its sources.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let kit = root().join("labs/kit");
    let folders = fs::read_dir(&kit).unwrap().map(|entry| entry.unwrap());
    let rooms = folders.filter(|entry| entry.path().join("Cargo.toml").exists());
    let read = |src: &Path, file: PathBuf| {
        let text = fs::read_to_string(src.join(&file)).unwrap();
        (file, text)
    };
    rooms
        .map(|entry| {
            let src = entry.path().join("src");
            let files = holes::files(&src).unwrap().into_iter();
            let rust = files.filter(|file| file.extension().is_some_and(|ext| ext == "rs"));
            let sources = rust.map(|file| read(&src, file)).collect();
            (entry.file_name().into_string().unwrap(), sources)
        })
        .collect()
}

#[test]
fn no_room_is_larger_than_a_person_can_hold() {
    for (room, sources) in rooms() {
        let lines: usize = sources.iter().map(|(_, text)| text.lines().count()).sum();
        assert!(lines <= LARGEST, "{room} has {lines} lines");
    }
}

#[test]
fn arrows_between_rooms_point_downwards() {
    // The table lists the rooms from the roof down.
    let text = fs::read_to_string(root().join(".github/CONTRIBUTING.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `labs/kit/"));
    let plan: Vec<String> = rows
        .map(|row| row.split(['/', '`']).nth(3).unwrap().to_owned())
        .collect();
    let rooms: BTreeSet<String> = rooms().into_keys().collect();
    assert_eq!(
        BTreeSet::from_iter(plan.clone()),
        rooms,
        "the table's rooms"
    );
    let floor = |room: &String| plan.iter().position(|planned| planned == room).unwrap();
    for package in manifest::packages(&root()).unwrap() {
        let Some(above) = rooms.get(&package.name) else {
            continue;
        };
        for below in package.needs().filter(|name| rooms.contains(*name)) {
            let below = below.to_owned();
            assert!(floor(&below) > floor(above), "{above} uses {below}");
            let program = ["lab", "lecture", "bench", "load"].contains(&below.as_str());
            assert!(!program, "{above} uses the program {below}");
        }
    }
}

/// Cargo unites the features of the packages that it builds together. Where two choices of packages differ in
/// one, `cargo test -p broker` after `just lab` compiles for 40 s what is there already.
#[test]
fn every_choice_of_packages_compiles_the_same_dependencies() {
    let shared: BTreeSet<String> = features(&["-p", "broker", "-e", "normal"])
        .into_keys()
        .collect();
    let built = features(&["-p", "lab", "-p", "common", "-e", "normal,dev"]);
    for chosen in [&["-p", "broker"][..], &["-p", "lab"], &["-p", "proof"], &[]] {
        let other = features(&[chosen, &["-e", "normal,dev"]].concat());
        for name in &shared {
            assert_eq!(
                other.get(name),
                built.get(name),
                "{name} with {chosen:?}; name its features in labs/kit/process/Cargo.toml"
            );
        }
    }
}

/// The dependencies of these packages, each with its versions and their features.
fn features(packages: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let tree = [
        "tree",
        "--offline",
        "--prefix",
        "none",
        "--format",
        "{p}|{f}",
    ];
    let cargo = Command::new(env!("CARGO"))
        .args(tree)
        .args(packages)
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "cargo tree: {errors}");
    let printed = String::from_utf8(cargo.stdout).unwrap();
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for line in printed.lines().filter(|line| !line.contains("/labs/")) {
        let line = line.trim_end_matches(" (*)");
        let name = line.split(' ').next().unwrap();
        found
            .entry(name.to_owned())
            .or_default()
            .insert(line.to_owned());
    }
    assert!(found.contains_key("tokio"), "not a tree: {printed}");
    found
}

#[test]
fn no_circle_between_files_of_different_folders() {
    for (room, sources) in rooms() {
        let files: BTreeSet<&Path> = sources.iter().map(|(file, _)| file.as_path()).collect();
        let uses: BTreeMap<&Path, BTreeSet<&Path>> = sources
            .iter()
            .map(|(file, text)| (file.as_path(), used(file, text, &files)))
            .collect();
        for (file, direct) in &uses {
            for &other in direct
                .iter()
                .filter(|other| other.parent() != file.parent())
            {
                assert!(
                    !reaches(other, file, &uses),
                    "{room}: {} and {} use each other",
                    file.display(),
                    other.display()
                );
            }
        }
    }
}

/// The files of the same room that this one's `use` lines name. The face of a room, `lib.rs`,
/// only hands names on: what is used through it is not seen here.
fn used<'a>(file: &Path, text: &str, files: &BTreeSet<&'a Path>) -> BTreeSet<&'a Path> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        let Some(path) = line.strip_prefix("use ") else {
            continue;
        };
        let words = path.split("::").map(|word| word.trim_end_matches(';'));
        let mut place = match file.file_stem().unwrap().to_str().unwrap() {
            "mod" | "lib" | "main" => file.parent().unwrap().to_owned(),
            _ => file.with_extension(""),
        };
        for (index, word) in words.enumerate() {
            match word {
                "crate" => place = PathBuf::new(),
                "super" => _ = place.pop(),
                "self" => {}
                _ if index == 0 => break,
                word => place.push(word),
            }
            let found_here = [place.with_extension("rs"), place.join("mod.rs")];
            found.extend(
                files
                    .iter()
                    .filter(|file| found_here.contains(&file.to_path_buf())),
            );
        }
    }
    found.remove(file);
    found
}

fn reaches(from: &Path, to: &Path, uses: &BTreeMap<&Path, BTreeSet<&Path>>) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        if file == to {
            return true;
        }
        next.extend(uses[file].iter().filter(|other| seen.insert(other)));
    }
    false
}

#[test]
fn the_kit_has_no_word_of_a_chapter() {
    let words = words_of_chapters();
    let mut complaints = Vec::new();
    // The bench measures the chapters' own programs.
    for (room, sources) in rooms().into_iter().filter(|(room, _)| room != "bench") {
        for (file, text) in sources {
            let tests = file.components().any(|part| {
                ["tests", "tests.rs"]
                    .map(|name| Component::Normal(name.as_ref()))
                    .contains(&part)
            });
            let program = text.split("#[cfg(test)]").next().unwrap();
            for line in program.lines().filter(|line| !tests && !is_comment(line)) {
                for word in words.iter().filter(|word| names(line, word)) {
                    let (file, line) = (file.display(), line.trim());
                    complaints.push(format!("{room}/src/{file}: {word} in `{line}`"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

/// The names of the folders, and those of the services' names that are not the field's own.
fn words_of_chapters() -> BTreeSet<String> {
    const FIELDS: [&str; 3] = ["producer", "consumer", "worker"];
    let root = root();
    let mut words = BTreeSet::from(["FlixTube".to_owned(), "view-id".to_owned()]);
    for chapter in Chapter::all(&root).unwrap() {
        let services = manifest::ServiceManifest::of(&root, &chapter)
            .unwrap()
            .services;
        let roles = services.into_iter().map(|service| service.role);
        words.extend(roles.filter(|role| !FIELDS.contains(&role.as_str())));
        words.insert(chapter.name);
    }
    assert!(words.len() > 12, "{words:?}");
    words
}

/// Whether this line of code names it: a word of English, like `history`, as a string of its own.
fn names(line: &str, word: &str) -> bool {
    match word.contains('-') {
        true => line.contains(word),
        false => line.contains(&format!("\"{word}\"")),
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}
