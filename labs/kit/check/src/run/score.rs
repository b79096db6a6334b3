//! Counts a run by the chapter's parts, and says what a part that passes has taught.

use std::fmt;
use std::path::Path;

use course::hints::lay_out;
use course::parts::{Part, after};
use serde::{Deserialize, Serialize};
use terminal::WIDTH;

/// How many of a part's checks pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// `part A` or `part B`.
    pub part: String,
    /// The checks that pass.
    pub passed: usize,
    /// The checks that count.
    pub all: usize,
}

impl Score {
    /// The part's score, from whether each of its checks passes.
    pub fn new(part: Part, passes: impl Iterator<Item = bool>) -> Self {
        let (mut passed, mut all) = (0, 0);
        for pass in passes {
            all += 1;
            passed += usize::from(pass);
        }
        Self {
            part: part.to_string(),
            passed,
            all,
        }
    }

    /// Whether all of the part's checks pass.
    pub fn is_full(&self) -> bool {
        self.all > 0 && self.passed == self.all
    }

    /// The scores in an earlier `report.json`; none if it cannot be read.
    pub fn earlier(report: &Path) -> Vec<Self> {
        #[derive(Default, Deserialize)]
        struct Earlier {
            #[serde(default)]
            parts: Vec<Score>,
        }
        let text = std::fs::read(report).unwrap_or_default();
        let earlier: Earlier = serde_json::from_slice(&text).unwrap_or_default();
        earlier.parts
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.part, self.passed, self.all)
    }
}

/// What the chapter's README says after this part, laid out for a terminal; `None` if it says nothing.
pub fn learnt(readme: &Path, part: Part) -> Option<String> {
    let text = after(&std::fs::read_to_string(readme).ok()?, part);
    let lines = lay_out(&text, WIDTH - 2);
    let indented = lines
        .lines()
        .map(|line| format!("  {line}").trim_end().to_owned());
    (!text.is_empty()).then(|| indented.collect::<Vec<_>>().join("\n"))
}
