//! Tests what the `lab` command prints when something is wrong.
#![allow(clippy::unwrap_used)] // a test that cannot start the command should stop there

mod picture;
mod quiz;
mod run;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A target folder of its own for each test, so that a student's hints and runs stay.
struct Lab(PathBuf);

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Lab {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lab-cli-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command
            .args(args)
            .env("CARGO_TARGET_DIR", &self.0)
            .env_remove("LAB_PARENT")
            .env_remove("AMQP_URL")
            // From anywhere: the program knows its clone.
            .current_dir("/");
        command
    }

    fn say(&self, args: &[&str]) -> Said {
        said(&mut self.command(args))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said = Said {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    };
    for text in [&said.out, &said.err] {
        assert!(!text.contains('\x1b'), "colours in a pipe: {text:?}");
        assert!(!text.contains("panicked"), "{text}");
        assert!(!text.contains("stack backtrace"), "{text}");
    }
    said
}

#[test]
fn a_wrong_chapter_lists_the_chapters() {
    let lab = Lab::new("chapter");
    for command in [
        "lab", "solution", "hint", "diff", "run", "watch", "reset", "up", "down", "logs",
        "picture", "replay", "predict", "hunt", "catch-up",
    ] {
        let hole: &[&str] = if command == "catch-up" { &["1"] } else { &[] };
        let said = lab.say(&[&[command, "99"], hole].concat());
        assert_eq!(said.code, Some(2), "{command}");
        assert!(
            said.err.starts_with("error: there is no chapter `99`."),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("\n  01-direct-http\n  02-single-queue\n"),
            "{}",
            said.err
        );
    }
    let said = lab.say(&["lab", "02-singel-queue"]);
    assert!(
        said.err.contains("did you mean 02-single-queue?"),
        "{}",
        said.err
    );
}

#[test]
fn a_mistyped_command_is_reported_as_unknown() {
    let lab = Lab::new("slip");
    let said = lab.say(&["broker", "sideways"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("up, down, status"), "{}", said.err);
    let said = lab.say(&["hint", "01", "seven"]);
    assert_eq!(said.code, Some(2));
}

#[test]
fn a_difference_to_the_solution_is_not_an_error() {
    let lab = Lab::new("diff");
    for chapter in ["1", "2"] {
        let said = lab.say(&["diff", chapter]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.err.contains("this shows the answers"), "{}", said.err);
        for line in said.out.lines().filter(|line| line.starts_with("diff ")) {
            assert!(
                line.contains("labs/0") && line.contains("solutions/0"),
                "{line}"
            );
        }
    }
}

#[test]
fn missing_git_or_cargo_is_reported() {
    let lab = Lab::new("path");
    let without = |args| said(lab.command(args).env("PATH", "/nonexistent"));
    let diff = without(&["diff", "01"]);
    assert_eq!(diff.code, Some(2));
    assert!(diff.err.contains("install git"), "{}", diff.err);
    let checks = without(&["lab", "01"]);
    assert_eq!(checks.code, Some(2));
    assert!(checks.err.contains("install Rust"), "{}", checks.err);
}

#[test]
fn a_stopped_broker_is_reported_and_is_not_an_error() {
    let lab = Lab::new("broker");
    for action in [&["broker"][..], &["broker", "status"], &["broker", "down"]] {
        let said = lab.say(action);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(
            said.out.starts_with("No broker of this clone runs."),
            "{}",
            said.out
        );
    }
}

#[test]
fn doctor_lists_what_to_do() {
    let lab = Lab::new("doctor");
    // A file in place of the folder: root cannot write there, either.
    std::fs::write(lab.0.join("lab"), "").unwrap();
    let said = lab.say(&["doctor"]);
    assert_eq!(said.code, Some(2), "{}", said.out);
    for words in [
        "rustc",
        "Broker",
        "AMQP_URL",
        "not set",
        "To do",
        "CARGO_TARGET_DIR",
    ] {
        assert!(said.out.contains(words), "no {words} in: {}", said.out);
    }
    let said = said_with_wrong_url(&lab);
    assert_eq!(said.code, Some(2), "{}", said.out);
    assert!(said.out.contains("correct AMQP_URL"), "{}", said.out);
    assert!(!said.out.contains("s3cret"), "{}", said.out);
}

fn said_with_wrong_url(lab: &Lab) -> Said {
    // Today no machine has a listener on port 9 (discard).
    let url = "amqp://lab:s3cret@127.0.0.1:9/";
    said(lab.command(&["doctor"]).env("AMQP_URL", url))
}

#[test]
fn each_call_prints_one_more_hint() {
    let lab = Lab::new("hint");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../02-single-queue/README.md");
    if !readme.exists() {
        return; // an unfinished chapter
    }
    let first = lab.say(&["hint", "02", "1"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert!(first.out.contains("hint 1 of "), "{}", first.out);
    let second = lab.say(&["hint", "02", "1"]);
    assert!(second.out.contains("hint 2 of "), "{}", second.out);
    let beyond = lab.say(&["hint", "02", "77"]);
    assert_eq!(beyond.code, Some(2));
    assert!(
        beyond.err.contains("no hints for a HOLE 77"),
        "{}",
        beyond.err
    );
    let list = lab.say(&["hint", "02"]);
    assert!(
        list.out.contains("labs/02-single-queue/src/"),
        "{}",
        list.out
    );
}

#[test]
fn without_an_engine_up_names_the_missing_engine_and_just_run() {
    let lab = Lab::new("engine");
    for (args, mend) in [
        (
            &["up", "02", "--solution"][..],
            "just run 02 --solution, which needs none",
        ),
        (
            &["up", "03", "producer", "--burst"],
            "just run 03, which needs none",
        ),
        (&["down", "02"], "start Docker"),
        (&["logs", "02"], "start Docker"),
    ] {
        let mut command = lab.command(args);
        let said = said(command.env("DOCKER_HOST", "unix:///nowhere/docker.sock"));
        assert_eq!(said.code, Some(2), "{args:?}: {}", said.err);
        let what = said.err.starts_with("error: no containers here: docker ");
        assert!(
            what && said.err.contains(&format!("do   {mend}")),
            "{}",
            said.err
        );
    }
}
