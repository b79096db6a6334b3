//! The page to step through a run: one file that needs no server and no network.
//!
//! The page is `page/replay.html`, which gets its style, its scripts and the story.

use serde::Serialize;
use wiretap::Ending;

use crate::Caption;
use crate::fold::without;
use crate::page::page;
use crate::story::{Lane, Row, Story, What};

const PAGE: &str = include_str!("../page/replay.html");
/// Beyond what the live page has, too.
const SCRIPTS: [&str; 2] = [
    include_str!("../page/model.js"),
    include_str!("../page/replay.js"),
];

/// The most bytes of a page's rows.
const MOST: usize = 2_000_000;
/// The most characters of a row's tip or text.
const LONGEST: usize = 2_000;

/// What the page gets, as JSON.
#[derive(Serialize)]
struct Data<'a> {
    place: &'a str,
    says: &'a str,
    /// Each with a name: expected, observed.
    verdict: Vec<(&'a str, &'a str)>,
    lanes: &'a [Lane],
    rows: Vec<Told>,
    /// The row that the verdict is about.
    moment: usize,
    /// How many rows the run has.
    of: usize,
    /// How many of them are left out.
    left_out: usize,
}

/// A row, and whether the verdict names it.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    row: Row,
    told: bool,
}

/// A page on which a reader steps through this story. It has every row, up to about 2 MB; beyond
/// that, rows far from the beginning and the end are left out, and the page says how many.
#[must_use]
pub fn replay(story: &Story, caption: &Caption) -> String {
    let mut rows = caption.told(story);
    for (row, _) in &mut rows {
        row.text = shortened(&row.text);
        row.tip = shortened(&row.tip);
    }
    let stay = stays(&rows);
    let left_out = left_out(&stay);
    let rows = without(&rows, &stay);
    let data = Data {
        place: &caption.place,
        says: &caption.says,
        verdict: match &caption.ending {
            None => vec![("the journal has no verdict", "")],
            Some(Ending::Passed) => vec![("passed", "")],
            Some(Ending::Failed { expected, observed }) => {
                vec![("expected", expected), ("observed", observed)]
            }
            Some(Ending::Unknown(why)) => vec![("unknown", why)],
        },
        lanes: &story.lanes,
        moment: caption.moment(&rows),
        rows: rows
            .into_iter()
            .map(|(row, told)| Told { row, told })
            .collect(),
        of: story.rows.len(),
        left_out,
    };
    page(PAGE, &SCRIPTS, &data)
}

/// The beginning of a long text, and how much is missing.
fn shortened(text: &str) -> String {
    let rest = text.chars().count().saturating_sub(LONGEST);
    match rest {
        0 => text.to_owned(),
        _ => {
            let beginning: String = text.chars().take(LONGEST).collect();
            format!("{beginning}… ({rest} characters more are in the journal)")
        }
    }
}

/// Which rows have room: first those that the verdict names and faults, then what is no message, then
/// the others; each time from both ends inwards.
fn stays(rows: &[(Row, bool)]) -> Vec<bool> {
    let mut stay = vec![false; rows.len()];
    let mut room = MOST;
    let rank = |place: &usize| match &rows[*place] {
        (row, told) if *told || row.fault => 0,
        (row, _) if !matches!(row.what, What::Arrow(_)) => 1,
        _ => 2,
    };
    for wanted in 0..3 {
        let mut places = (0..rows.len()).filter(|place| rank(place) == wanted);
        let mut from_end = false;
        while let Some(place) = match from_end {
            false => places.next(),
            true => places.next_back(),
        } {
            let size = serde_json::to_string(&rows[place].0).map_or(0, |json| json.len());
            let Some(left) = room.checked_sub(size) else {
                return stay;
            };
            (room, stay[place], from_end) = (left, true, !from_end);
        }
    }
    stay
}

/// How many rows are left out: a single one stays, because the row that tells of it is as long.
fn left_out(stay: &[bool]) -> usize {
    let gaps = stay.split(|stays| *stays).map(<[bool]>::len);
    gaps.filter(|gap| *gap > 1).sum()
}
