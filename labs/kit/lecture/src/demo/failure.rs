//! Telling of a story that did not go as it should.

use std::process::ExitCode;

use super::stage::{Role, Stage, Unexpected};
use super::talk::Talk;
use terminal::tell;

/// How many lines of a log are shown.
const LAST_LINES: usize = 6;

/// Says what went wrong, with the programs' last words.
pub async fn explain(stage: &impl Stage, talk: &Talk, error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<Unexpected>() {
        Some(Unexpected { expected, observed }) => {
            talk.bad("this did not go as it should");
            talk.part("expected", expected);
            talk.part("observed", observed);
            ExitCode::FAILURE
        }
        None => {
            talk.aside("this machine has trouble");
            tell(error)
        }
    };
    for (name, text) in last_words(stage).await {
        talk.part(name, &text);
    }
    code
}

/// The last lines of what the programs have printed.
pub async fn last_words(stage: &impl Stage) -> Vec<(&'static str, String)> {
    let mut words = Vec::new();
    for role in [Role::Producer, Role::Consumer] {
        let log = stage.log(role).await.unwrap_or_default();
        let last = open_hole(&log).unwrap_or_else(|| last_lines(&log));
        if !last.is_empty() {
            words.push((role.name(), last));
        }
    }
    words
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// What a program that came to an open hole has printed, short of where it was called from.
fn open_hole(log: &str) -> Option<String> {
    let (_, hole) = log.split_once("not yet implemented: HOLE ")?;
    let hole = hole.lines().next().unwrap_or(hole);
    let number = hole.split(':').next().unwrap_or(hole);
    Some(format!(
        "came to HOLE {hole}\nwhich is still open: just hint 07 {number}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_open_hole_its_number_and_the_way_on_are_told() {
        let log =
            "thread main panicked at src/x.rs:1:\nnot yet implemented: HOLE 1: read it\n  0: x";
        let told = "came to HOLE 1: read it\nwhich is still open: just hint 07 1";
        assert_eq!(open_hole(log).as_deref(), Some(told));
        assert_eq!(open_hole("all is well"), None);
    }
}
