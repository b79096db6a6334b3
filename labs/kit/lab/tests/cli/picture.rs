//! `just picture`, on the folder of a run that another machine left.

use std::fs;
use std::path::Path;

use super::Lab;

/// A lab whose last run of solution 05 had one check, which passed.
fn with_a_run(test: &str) -> Lab {
    let lab = Lab::new(test);
    let run = lab.0.join("lab/solution-05");
    fs::create_dir_all(run.join("killed")).unwrap();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../slides/recorded");
    for (kept, drawn) in [("svg", "picture.svg"), ("jsonl", "journal.jsonl")] {
        let kept = recorded.join(format!("05-killed.{kept}"));
        fs::copy(kept, run.join("killed").join(drawn)).unwrap();
    }
    let report = r#"{"report":1,"chapter":"05","variant":"solution","broker":null,"seed":7,
        "status":"pass","passed":1,"parts":[],"waiting":[],"next":null,"checks":[{"check":"killed",
        "says":"","hole":1,"status":"pass","seconds":1.0,"trace":"journal.jsonl"}]}"#;
    fs::write(run.join("report.json"), report).unwrap();
    lab
}

#[test]
fn a_picture_is_named_and_a_diagram_printed() {
    let lab = with_a_run("picture");
    let file = lab.0.join("lab/solution-05/killed/picture.svg");
    // Without a name, the only check.
    for args in [
        ["picture", "05", "--solution", "killed"].as_slice(),
        &["picture", "05", "--solution"],
    ] {
        let said = lab.say(args);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(said.out, format!("{}\n", file.display()));
        assert!(said.err.contains("open it in a browser"), "{}", said.err);
    }
    let said = lab.say(&["picture", "05", "killed", "--solution", "--mermaid"]);
    assert!(
        said.out
            .starts_with("sequenceDiagram\n    participant L0 as shop\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains(": redeliver "), "{}", said.out);
    assert_eq!((said.code, &*said.err), (Some(0), ""));
}

#[test]
fn a_replay_is_made_where_the_check_passed() {
    let lab = with_a_run("replay");
    let said = lab.say(&["replay", "05", "--solution"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let page = fs::read_to_string(said.out.trim()).unwrap();
    assert!(
        page.starts_with("<!doctype html>") && page.contains("redeliver"),
        "{page}"
    );
}

#[test]
fn without_a_run_or_with_a_slip_it_says_what_to_type() {
    let lab = with_a_run("no-picture");
    let said = lab.say(&["picture", "05"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.err.contains("chapter 05 has no run to show"),
        "{}",
        said.err
    );
    assert!(said.err.contains("just lab 05"), "{}", said.err);
    let said = lab.say(&["picture", "05", "kiled", "--solution"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("no check `kiled`"), "{}", said.err);
    assert!(said.err.contains("choose one of: killed"), "{}", said.err);
}

#[test]
fn a_damaged_journal_is_drawn_and_told() {
    let lab = with_a_run("damaged");
    let journal = lab.0.join("lab/solution-05/killed/journal.jsonl");
    let mut text = fs::read(&journal).unwrap();
    text.truncate(text.len() - 9);
    fs::write(&journal, text).unwrap();
    let said = lab.say(&["picture", "05", "--solution", "--mermaid"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("is cut off"), "{}", said.err);
    assert!(said.out.contains(": redeliver "), "{}", said.out);
}
