//! A sequence diagram that Markdown shows, as on GitHub.

use std::fmt::Write;

use crate::Caption;
use crate::story::{Kind, Lane, Sort, Story, What};
use wiretap::Ending;

/// A story as the text of a Mermaid diagram.
#[must_use]
pub fn mermaid(story: &Story, caption: &Caption) -> String {
    let mut text = String::from("sequenceDiagram\n");
    let mut line = |line: String| {
        // Writing to a string never fails.
        let _ = writeln!(text, "    {line}");
    };
    for (number, lane) in story.lanes.iter().enumerate() {
        line(format!("participant L{number} as {}", plain(&name(lane))));
    }
    let all = match story.lanes.len() {
        0 | 1 => "over L0".to_owned(),
        count => format!("over L0,L{}", count - 1),
    };
    for (row, _) in caption.rows(story) {
        let said = plain(&row.text);
        match &row.what {
            What::Arrow(arrow) => {
                line(format!(
                    "L{}{}L{}: {said}",
                    arrow.from,
                    head(arrow.sort, arrow.lost),
                    arrow.to
                ));
                for to in &arrow.routed {
                    line(format!("L{}->>L{to}: route", arrow.to));
                }
            }
            What::Change(Some(lane), _) | What::Link(lane, _) => {
                line(format!("Note over L{lane}: {said}"));
            }
            What::Change(None, _) | What::Note | What::Folded => {
                line(format!("Note {all}: {said}"))
            }
        }
    }
    if let Some(Ending::Failed { observed, .. }) = &caption.ending {
        line(format!("Note {all}: ✘ {}", plain(observed)));
    }
    text
}

fn head(sort: Sort, lost: bool) -> &'static str {
    match sort {
        Sort::Publish | Sort::Refusal if lost => "-x",
        Sort::Confirm | Sort::Response => "-->>",
        Sort::Refusal | Sort::Reject => "-x",
        _ => "->>",
    }
}

fn name(lane: &Lane) -> String {
    match lane.kind {
        Kind::Exchange if lane.name.is_empty() => "default exchange".to_owned(),
        Kind::Exchange => format!("exchange {}", lane.name),
        Kind::Queue => format!("queue {}", lane.name),
        Kind::Check | Kind::Service => lane.name.clone(),
    }
}

/// Without what means something to Mermaid or to HTML.
fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        ';' => ','.to_string(),
        '#' => "＃".to_owned(),
        '<' => "‹".to_owned(),
        '>' => "›".to_owned(),
        '\n' | '\r' => " ".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(plain).collect()
}
