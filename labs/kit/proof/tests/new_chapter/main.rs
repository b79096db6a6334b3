//! Creates a chapter as `just new-chapter` does, in a copy of the workspace. It must pass what every
//! chapter passes: the lab is red at HOLE 1, the solution green, the mutant caught.
#![allow(clippy::unwrap_used)] // a test that cannot make the copy should stop there

use std::fs;
use std::path::Path;
use std::process::Command;

use course::paths::Paths;

/// What `just new-chapter` runs.
const MAKE: &str = "labs/kit/proof/tests/new_chapter/make";

/// No chapter has this number.
const NAME: &str = "90-trial";

/// Copies tracked files, and new files that are not ignored. Keeps their times, so that cargo compiles
/// unchanged files only once.
const COPY: &str = "git ls-files -z --cached --others --exclude-standard \
                    | tar -c --null -T - | tar -x -C \"$1\"";

/// A proof of a pristine lab uses it as committed.
const COMMIT: &str = "git init -q && git add -A && \
                      git -c user.name=lab -c user.email=lab@localhost -c commit.gpgsign=false \
                      commit -qm copy";

#[test]
#[ignore = "it compiles the kit once more; .ci/run has it"]
fn a_new_chapter_is_red_at_hole_1_its_solution_green_and_its_mutant_caught() {
    let paths = Paths::find().unwrap();
    let copy = paths.data().join("new-chapter");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(&copy).unwrap();
    run(
        Command::new("sh").args(["-c", COPY, "sh"]).arg(&copy),
        &paths.root,
    );
    rename_version(&copy);
    run(Command::new("bash").args([MAKE, NAME]), &copy);
    run(Command::new("sh").args(["-c", COMMIT]), &copy);

    let test = format!("test --offline --package {}", env!("CARGO_PKG_NAME"));
    // A skeleton has one mutant and no variant, and a chapter must have more: skip these proofs.
    for line in [
        "fmt --check --package lab-90 --package solution-90",
        &format!("{test} --test trees --test readme --test compose --test path"),
        &format!("{test} --test proofs -- 90 --skip mutants --skip variants"),
    ] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(line.split(' '));
        run(cargo.env("CARGO_TARGET_DIR", &paths.target), &copy);
    }
    fs::remove_dir_all(copy).unwrap(); // a failed test leaves it for debugging
}

/// Gives the copy's packages another version: cargo then reuses the compiled dependencies, and does not
/// overwrite this clone's programs.
fn rename_version(copy: &Path) {
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let renamed = text.replace("\nversion = \"0.1.0\"\n", "\nversion = \"0.1.0-copy\"\n");
    assert_ne!(text, renamed, "Cargo.toml has another version");
    fs::write(manifest, renamed).unwrap();
}

fn run(command: &mut Command, folder: &Path) {
    let output = command.current_dir(folder).output().unwrap();
    let [printed, errors] =
        [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned());
    assert!(output.status.success(), "{command:?}\n{printed}\n{errors}");
}
