//! Pictures of a run, made of its journal and nothing else: [`svg`], a space-time diagram,
//! [`mermaid`], a sequence diagram for Markdown, [`replay`], a page to step through the run, and
//! [`Live`], a run that goes on. The same journal gives the same bytes.
//!
//! Start reading at [`story`], which turns entries into lanes and rows; the others show them.

mod confirms;
mod depth;
mod fold;
mod lanes;
mod live;
mod mermaid;
mod page;
mod replay;
mod story;
mod svg;
mod tell;

use explain::short;
use wiretap::journal::Head;
use wiretap::{Ending, Entry, Event};

pub use depth::Depth;
pub use live::{Live, Message, State, Tied, Update};
pub use mermaid::mermaid;
pub use page::board;
pub use replay::replay;
pub use story::{Arrow, Bond, Change, Kind, Lane, Row, Sort, Story, Tie, What};
pub use svg::svg;
pub use tell::story;

/// The check whose run is drawn, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    /// Where it ran.
    pub place: String,
    /// The check's sentence; its name, if the journal has no verdict.
    pub says: String,
    /// How it ended; `None` if the journal has no verdict.
    pub ending: Option<Ending>,
}

impl Caption {
    /// The caption for a journal.
    #[must_use]
    pub fn of(head: &Head, entries: &[Entry]) -> Self {
        let Head {
            chapter,
            check,
            seed,
        } = head;
        let verdict = entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Verdict { says, ending } => Some((says.clone(), ending.clone())),
            _ => None,
        });
        let (says, ending) = verdict.unzip();
        Self {
            place: format!("chapter {chapter}, check {check}, seed {seed}"),
            says: says.unwrap_or_else(|| check.clone()),
            ending,
        }
    }

    /// The rows that stay after folding, and whether the verdict names each.
    fn rows(&self, story: &Story) -> Vec<(Row, bool)> {
        fold::fold(self.told(story))
    }

    /// All rows, and whether the verdict names each: by a message's id or by its time, as
    /// "at 1.234 s". Where it names ids, a time is not that of another message in the same millisecond.
    fn told(&self, story: &Story) -> Vec<(Row, bool)> {
        let (observed, times) = (self.observed(), times(self.observed()));
        let by_id = |row: &Row| {
            let mut ids = row.ids.iter().filter(|id| !id.is_empty());
            ids.any(|id| observed.contains(&short(id)))
        };
        let any = story.rows.iter().any(by_id);
        let names = |row: &Row| by_id(row) || ((!any || row.ids.is_empty()) && is_at(row, &times));
        let rows = story.rows.iter().map(|row| (row.clone(), names(row)));
        rows.collect()
    }

    /// The row that the verdict is about: the last one that it names by its time, else the last one that
    /// it names, else the last one.
    fn moment(&self, rows: &[(Row, bool)]) -> usize {
        let times = times(self.observed());
        let timed = rows
            .iter()
            .rposition(|(row, told)| *told && is_at(row, &times));
        let told = || rows.iter().rposition(|(_, told)| *told);
        timed.or_else(told).unwrap_or(rows.len().saturating_sub(1))
    }

    fn observed(&self) -> &str {
        match &self.ending {
            Some(Ending::Failed { observed, .. }) => observed,
            Some(Ending::Passed | Ending::Unknown(_)) | None => "",
        }
    }
}

/// Whether the row is of one of these times, which have three digits.
fn is_at(row: &Row, times: &[f64]) -> bool {
    let mut times = times.iter();
    times.any(|time| (row.t - 0.0005..=row.until + 0.0005).contains(time))
}

/// The times that a text names, as "at 1.234 s".
fn times(text: &str) -> Vec<f64> {
    let words: Vec<_> = text.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "at");
    pairs.filter_map(|pair| pair[1].parse().ok()).collect()
}

/// A text of at most so many letters: a longer one is cut off.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.chars().nth(most) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}
