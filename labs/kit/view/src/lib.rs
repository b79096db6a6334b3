//! Pictures of a run, made of its journal and nothing else: [`svg`], a space-time diagram,
//! [`mermaid`], a sequence diagram for Markdown, and [`replay`], a page to step through the run. The
//! same journal gives the same bytes.
//!
//! Start reading at [`story`], which turns entries into lanes and rows; the others show them.

mod depth;
mod fold;
mod lanes;
mod mermaid;
mod replay;
mod story;
mod svg;
mod tell;

use explain::short;

pub use depth::Depth;
pub use mermaid::mermaid;
pub use replay::replay;
pub use story::{Arrow, Bond, Change, Kind, Lane, Row, Sort, Story, Tie, What};
pub use svg::svg;
pub use tell::story;

/// The check whose run is drawn, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caption {
    /// Where it ran: `Solution 05`.
    pub chapter: String,
    /// The check's sentence.
    pub says: String,
    /// How it ended.
    pub ending: Ending,
}

/// How a check ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ending {
    /// It passed.
    #[default]
    Passed,
    /// It failed: what was expected, and what was observed.
    Failed {
        /// What was expected.
        expected: String,
        /// What was observed.
        observed: String,
    },
    /// Nothing can be said, for this reason.
    Unknown(String),
}

impl Caption {
    /// The rows that stay after folding, and whether the verdict names each.
    fn rows(&self, story: &Story) -> Vec<(Row, bool)> {
        fold::fold(self.told(story))
    }

    /// All rows, and whether the verdict names each: by a message's id or by its time, as
    /// "at 1.234 s".
    fn told(&self, story: &Story) -> Vec<(Row, bool)> {
        let observed = match &self.ending {
            Ending::Failed { observed, .. } => &**observed,
            Ending::Passed | Ending::Unknown(_) => "",
        };
        let names = |row: &Row| {
            let times = format!("{:.3} s", row.t);
            let ids = row.ids.iter().map(|id| short(id));
            observed.contains(&times) || ids.into_iter().any(|id| observed.contains(&id))
        };
        let rows = story.rows.iter().map(|row| (row.clone(), names(row)));
        rows.collect()
    }
}
