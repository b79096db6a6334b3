//! Where everything stands.

use crate::Caption;
use crate::story::{Kind, Lane, Row, Sort, Story, What};
use wiretap::Ending;

/// The empty space at each side.
pub(super) const EDGE: i32 = 14;
/// From one line of text to the next.
pub(super) const LINE: i32 = 15;
/// From one row to the next.
const STEP: i32 = 22;
/// A pause that is told, in seconds.
const PAUSE: f64 = 0.3;
/// What the times take at the left.
const TIMES: i32 = 70;
/// The least width: for the sentences.
const LEAST: i32 = 760;
/// The width that the lanes share, if they can.
const SHARED: i32 = 860;

/// A row and its height above the baseline.
pub(super) struct Placed {
    pub(super) row: Row,
    pub(super) y: i32,
    pub(super) told: bool,
    /// How long nothing happened before it.
    pub(super) gap: Option<String>,
}

pub(super) struct Layout {
    pub(super) width: i32,
    pub(super) height: i32,
    /// From lane to lane.
    pub(super) gap: i32,
    /// Where the lanes begin and end.
    pub(super) top: i32,
    pub(super) bottom: i32,
    pub(super) lanes: Vec<Lane>,
    pub(super) header: Vec<(i32, &'static str, String)>,
    pub(super) rows: Vec<Placed>,
    /// Whether rows that the verdict does not name are dimmed.
    pub(super) dims: bool,
    pub(super) verdict: Option<(i32, Vec<String>)>,
}

impl Layout {
    pub(super) fn of(story: &Story, caption: &Caption, rows: Vec<(Row, bool)>) -> Self {
        let lanes = story.lanes.clone();
        let count = i32::try_from(lanes.len().max(1)).unwrap_or(i32::MAX / SHARED);
        let gap = (SHARED / count).clamp(104, 210);
        let width = (TIMES + gap * count + EDGE).max(LEAST);
        let letters = usize::try_from((width - 3 * EDGE) / 7).unwrap_or_default();
        let header = header(caption, letters);
        let top = header.last().map_or(0, |(y, ..)| *y) + 48;
        let last_told = rows.iter().rposition(|(_, told)| *told);
        let dims = last_told.is_some();
        let last_told = last_told.unwrap_or(rows.len().saturating_sub(1));
        let observed = match &caption.ending {
            Some(Ending::Failed { observed, .. }) => wrapped(&format!("✘ {observed}"), letters),
            Some(Ending::Passed | Ending::Unknown(_)) | None => Vec::new(),
        };
        let (mut y, mut verdict, mut before) = (top + 6, None, None);
        let mut placed = Vec::new();
        for (number, (row, told)) in rows.into_iter().enumerate() {
            let pause = before.map_or(0.0, |before| row.t - before);
            let gap = (pause >= PAUSE).then(|| format!("{pause:.1} s"));
            y += STEP + if gap.is_some() { 14 } else { 0 };
            before = Some(row.until);
            placed.push(Placed { row, y, told, gap });
            if number == last_told && !observed.is_empty() {
                verdict = Some((y + 16, observed.clone()));
                y += 18 + LINE * i32::try_from(observed.len()).unwrap_or_default();
            }
        }
        let bottom = y + 16;
        Self {
            width,
            height: bottom + 44,
            gap,
            top,
            bottom,
            lanes,
            header,
            rows: placed,
            dims,
            verdict,
        }
    }

    pub(super) fn x(&self, lane: usize) -> i32 {
        TIMES + self.gap / 2 + self.gap * i32::try_from(lane).unwrap_or_default()
    }

    /// The lanes that stop with the broker.
    pub(super) fn broker_lanes(&self) -> Vec<usize> {
        let numbered = self.lanes.iter().enumerate();
        let broker = numbered.filter(|(_, lane)| matches!(lane.kind, Kind::Exchange | Kind::Queue));
        broker.map(|(number, _)| number).collect()
    }

    /// The sorts of arrows that the picture has, with their names.
    pub(super) fn legend(&self) -> Vec<(Sort, &'static str)> {
        let all = [
            (Sort::Setup, "declare, bind, consume"),
            (Sort::Publish, "publish"),
            (Sort::Confirm, "confirm"),
            (Sort::Deliver, "deliver"),
            (Sort::Redeliver, "redeliver"),
            (Sort::Ack, "ack"),
            (Sort::Reject, "reject"),
            (Sort::Refusal, "refused"),
            (Sort::Request, "request"),
            (Sort::Response, "response"),
        ];
        let has = |sort| {
            self.rows
                .iter()
                .any(|placed| matches!(&placed.row.what, What::Arrow(arrow) if arrow.sort == sort))
        };
        all.into_iter().filter(|(sort, _)| has(*sort)).collect()
    }
}

fn header(caption: &Caption, letters: usize) -> Vec<(i32, &'static str, String)> {
    let (mark, expected) = match &caption.ending {
        Some(Ending::Passed) => ("✔", None),
        Some(Ending::Failed { expected, .. }) => ("✘", Some(format!("expected: {expected}"))),
        Some(Ending::Unknown(why)) => ("?", Some(format!("unknown: {why}"))),
        None => (
            "?",
            Some("without a verdict: the run was stopped".to_owned()),
        ),
    };
    // Its letters are larger.
    let title = wrapped(&format!("{mark} {}", caption.says), letters * 7 / 10);
    let mut lines: Vec<_> = title.into_iter().map(|line| ("title", line)).collect();
    lines.push(("sub", caption.place.clone()));
    let expected = expected.map_or_else(Vec::new, |text| wrapped(&text, letters));
    lines.extend(expected.into_iter().map(|line| ("sub", line)));
    let mut y = 12;
    let mut placed = Vec::new();
    for (class, line) in lines {
        y += if class == "title" { 18 } else { LINE };
        placed.push((y, class, line));
    }
    placed
}

/// A text in lines of at most so many letters; a longer word stands alone.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
