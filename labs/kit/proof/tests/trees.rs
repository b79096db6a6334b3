//! Compares each lab with its solution: equal outside the holes, holes numbered, hints present.
#![allow(clippy::unwrap_used)] // a test that cannot read the tree should stop there

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use course::chapter::{Chapter, Variant};
use course::{hints, holes, manifest, paths::Paths};
use wiretap::Method;

fn paths() -> Paths {
    Paths::find().unwrap()
}

/// Runs `look` on each chapter, and fails with all complaints.
fn each_chapter(look: impl Fn(&Paths, &Chapter, &mut Vec<String>)) {
    let paths = paths();
    let chapters = Chapter::all(&paths.root).unwrap();
    assert!(!chapters.is_empty(), "no chapters at all");
    let mut complaints = Vec::new();
    for chapter in &chapters {
        look(&paths, chapter, &mut complaints);
    }
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn lab_and_solution_are_equal_outside_holes() {
    each_chapter(|paths, chapter, complaints| {
        let [lab, solution] =
            [Variant::Lab, Variant::Solution].map(|v| chapter.folder(v).join("src"));
        let files = holes::files(&lab).unwrap();
        if files != holes::files(&solution).unwrap() {
            complaints.push(format!(
                "{}: the two trees have different files",
                chapter.name
            ));
            return;
        }
        for file in files {
            let name = paths.short(&lab.join(&file));
            let [ours, theirs] = [&lab, &solution].map(|src| fs::read(src.join(&file)).unwrap());
            if file.extension().is_none_or(|ext| ext != "rs") {
                if ours != theirs {
                    complaints.push(format!("{name}: differs from the solution's"));
                }
                continue;
            }
            let blank = |bytes| holes::blank(&String::from_utf8(bytes).unwrap());
            match (blank(ours), blank(theirs)) {
                (Ok(ours), Ok(theirs)) if ours == theirs => {}
                (Ok(ours), Ok(theirs)) => {
                    let mut pairs = ours.lines().zip(theirs.lines());
                    let differs = pairs.find(|(ours, theirs)| ours != theirs);
                    complaints.push(format!("{name}: outside the holes, first {differs:?}"));
                }
                (Err(error), _) => complaints.push(format!("{name}, {error}")),
                (_, Err(error)) => complaints.push(format!("the solution of {name}, {error}")),
            }
        }
    });
}

#[test]
fn holes_are_numbered_without_gaps_and_open() {
    each_chapter(
        |paths, chapter, complaints| match holes::in_tree(&chapter.lab.join("src")) {
            Ok(places) => {
                for (place, due) in places.iter().zip(1..) {
                    if place.hole.number != due {
                        let file = paths.short(&place.file);
                        let number = place.hole.number;
                        complaints.push(format!("{file}: HOLE {number}, but {due} is next"));
                    }
                    let source = fs::read_to_string(&place.file).unwrap();
                    if !holes::is_open(&source, &place.hole) {
                        let file = paths.short(&place.file);
                        complaints.push(format!("{file}: HOLE {due} has no todo! or `Naive:`"));
                    }
                    if place.hole.task.is_empty() {
                        complaints.push(format!("HOLE {due} of {} names no task", chapter.name));
                    }
                }
            }
            Err(error) => complaints.push(error.to_string()),
        },
    );
}

#[test]
fn each_hole_has_at_least_two_hints() {
    each_chapter(|paths, chapter, complaints| {
        let numbers: Vec<u32> = match holes::in_tree(&chapter.lab.join("src")) {
            Ok(places) => places.iter().map(|place| place.hole.number).collect(),
            Err(error) => return complaints.push(error.to_string()),
        };
        let readme = paths.short(&chapter.readme());
        if !chapter.readme().exists() && numbers.is_empty() {
            return; // an unfinished chapter
        }
        if let Err(error) = chapter.title() {
            return complaints.push(error.to_string());
        }
        let hints = match hints::parse(&fs::read_to_string(chapter.readme()).unwrap()) {
            Ok(hints) => hints,
            Err(error) => return complaints.push(format!("{readme}, {error}")),
        };
        for hole in &numbers {
            let count = hints.get(hole).map_or(0, Vec::len);
            if count < 2 {
                complaints.push(format!(
                    "{readme}: {count} hints for HOLE {hole}, expected two"
                ));
            }
        }
        for hole in hints.keys().filter(|hole| !numbers.contains(hole)) {
            complaints.push(format!(
                "{readme}: hints for HOLE {hole}, which does not exist"
            ));
        }
    });
}

#[test]
fn a_hint_fits_into_eighty_columns() {
    each_chapter(|paths, chapter, complaints| {
        let readme = fs::read_to_string(chapter.readme()).unwrap_or_default();
        for hint in hints::parse(&readme).unwrap_or_default().values().flatten() {
            for line in hints::lay_out(hint, 80).lines() {
                if line.chars().count() > 80 {
                    complaints.push(format!("{}: {line}", paths.short(&chapter.readme())));
                }
            }
        }
    });
}

#[test]
fn solutions_leave_nothing_to_do() {
    each_chapter(|paths, chapter, complaints| {
        let src = chapter.solution.join("src");
        for file in holes::files(&src).unwrap() {
            // A file that is not text, such as a film, contains no macros.
            let text = fs::read_to_string(src.join(&file)).unwrap_or_default();
            for word in ["todo!", "unimplemented!"] {
                if text.contains(word) {
                    let name = paths.short(&src.join(&file));
                    complaints.push(format!("{name} contains {word}"));
                }
            }
        }
    });
}

#[test]
fn no_two_packages_build_a_program_of_the_same_name() {
    // Cargo only warns, and the checks of one chapter then run another one's program.
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in manifest::packages(&paths().root).unwrap() {
        for target in package.targets {
            if target.kind.iter().any(|kind| kind == "bin") {
                owners
                    .entry(target.name)
                    .or_default()
                    .push(package.name.clone());
            }
        }
    }
    owners.retain(|_, owners| owners.len() > 1);
    assert!(owners.is_empty(), "shared names: {owners:?}");
}

#[test]
fn manifests_are_valid() {
    each_chapter(|paths, chapter, complaints| {
        if let Err(error) = manifest::ServiceManifest::of(&paths.root, chapter) {
            complaints.push(format!("{}: {error:#}", chapter.name));
        }
    });
}

#[test]
fn only_the_wiretap_names_methods_as_strings() {
    // The compiler checks `Method::BasicPublish`; nothing checks `"basic.pubish"`.
    let root = paths().root;
    // The second holds the words in the journal's file.
    let its_own = ["kit/wiretap", "kit/proof/tests/journal"];
    let mut complaints = Vec::new();
    for tree in ["labs", "solutions"].map(|tree| root.join(tree)) {
        for file in holes::files(&tree).unwrap() {
            let rust = file.extension().is_some_and(|ext| ext == "rs");
            if !rust || its_own.iter().any(|own| file.starts_with(own)) {
                continue;
            }
            let source = fs::read_to_string(tree.join(&file)).unwrap();
            for method in Method::ALL {
                if source.contains(&format!("\"{method}\"")) {
                    let name = file.display();
                    complaints.push(format!("{name}: \"{method}\" for Method::{method:?}"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

/// The lines under `[lints.rust]` of a manifest.
fn lints(manifest: &Path) -> String {
    let text = fs::read_to_string(manifest).unwrap();
    let (_, after) = text.split_once("\n[lints.rust]\n").unwrap();
    after.split("\n\n").next().unwrap().to_owned()
}

#[test]
fn a_forgotten_await_in_a_lab_causes_a_warning() {
    let chapters = Chapter::all(&paths().root).unwrap();
    let manifest = |chapter: &Chapter| chapter.lab.join("Cargo.toml");
    let ours = lints(&manifest(&chapters[0]));
    for chapter in &chapters {
        assert_eq!(lints(&manifest(chapter)), ours, "in {}", chapter.name);
    }
    // A separate crate with these lints: the labs themselves take seconds to compile.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forgotten-await");
    fs::create_dir_all(folder.join("src")).unwrap();
    let package = "[package]\nname = \"forgotten-await\"\nedition = \"2024\"\n[workspace]\n";
    let text = format!("{package}[lints.rust]\n{ours}\n");
    fs::write(folder.join("Cargo.toml"), text).unwrap();
    let program = "async fn publish() {}\nfn main() {\n    publish();\n}\n";
    fs::write(folder.join("src/main.rs"), program).unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["check", "--color", "never", "--target-dir", "target"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&cargo.stderr);
    assert!(said.contains("warning: unused implementer of"), "{said}");
    assert!(
        said.contains("futures do nothing unless you `.await`"),
        "{said}"
    );
}
