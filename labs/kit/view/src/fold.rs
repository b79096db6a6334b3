//! Leaves out rows like those around them, and says how many. What a verdict names, and what happened to
//! a process or a link, stays.

use std::collections::{BTreeMap, HashMap};

use crate::story::{Change, Row, What};

/// A picture of so many rows is read without folding.
const ENOUGH: usize = 48;
/// So many rows of one kind stay, between two changes of a process.
const OF_A_KIND: usize = 3;
/// When a picture is still longer than this, less stays.
const TOO_MANY: usize = 160;

/// What makes rows alike.
type Likeness = (u8, Option<(usize, usize)>, String);

/// These rows, and whether the verdict names each; of many alike the first ones, and the last one.
pub(crate) fn fold(rows: Vec<(Row, bool)>) -> Vec<(Row, bool)> {
    if rows.len() <= ENOUGH {
        return rows;
    }
    let folded = without(&rows, &stays(&rows, OF_A_KIND, true));
    match folded.len() {
        0..=TOO_MANY => folded,
        _ => without(&rows, &stays(&rows, 1, false)),
    }
}

/// Which rows stay, where `most` of a kind do: of each segment, or of all.
fn stays(rows: &[(Row, bool)], most: usize, by_segment: bool) -> Vec<bool> {
    let mut seen: HashMap<Likeness, Vec<usize>> = HashMap::new();
    let mut stay = vec![false; rows.len()];
    let mut end = |seen: &mut HashMap<Likeness, Vec<usize>>| {
        for (_, places) in seen.drain() {
            let last = places.len() - 1;
            for (nth, place) in places.into_iter().enumerate() {
                stay[place] = nth < most || nth == last;
            }
        }
    };
    for (place, (row, _)) in rows.iter().enumerate() {
        if by_segment && matches!(row.what, What::Change(_, change) if change != Change::Told) {
            end(&mut seen);
        }
        seen.entry(likeness(row)).or_default().push(place);
    }
    end(&mut seen);
    for (place, (row, told)) in rows.iter().enumerate() {
        stay[place] |= *told || (by_segment && matches!(row.what, What::Change(..)));
    }
    stay
}

fn likeness(row: &Row) -> Likeness {
    let first = |text: &str| text.split([' ', ':']).next().unwrap_or_default().to_owned();
    match &row.what {
        What::Arrow(arrow) => (
            arrow.sort as u8,
            Some((arrow.from, arrow.to)),
            String::new(),
        ),
        What::Change(lane, _) => (100, lane.map(|lane| (lane, lane)), first(&row.text)),
        What::Link(lane, _) => (101, Some((*lane, *lane)), first(&row.text)),
        What::Note | What::Folded => (102, None, first(&row.text)),
    }
}

/// The rows that stay, and a row for those that do not.
pub(crate) fn without(rows: &[(Row, bool)], stay: &[bool]) -> Vec<(Row, bool)> {
    let mut folded = Vec::new();
    let mut places = 0..rows.len();
    while let Some(place) = places.next() {
        let gone = stay[place..].iter().take_while(|stays| !**stays).count();
        if gone < 2 {
            folded.push(rows[place].clone());
            continue;
        }
        folded.push((summary(&rows[place..place + gone]), false));
        places.start = place + gone;
    }
    folded
}

/// One row for many: what they were, and how everything is after the last.
fn summary(rows: &[(Row, bool)]) -> Row {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut depths, mut open, mut links) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (row, _) in rows {
        *kinds.entry(kind(row)).or_default() += 1;
        depths.extend(row.depths.iter().copied());
        open.extend(row.open.iter().copied());
        links.extend(row.links.iter().cloned());
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let text = format!("… {} like these: {}", rows.len(), kinds.join(", "));
    Row {
        t: rows[0].0.t,
        until: rows[rows.len() - 1].0.until,
        depths: depths.into_iter().collect(),
        ties: rows.iter().flat_map(|(row, _)| row.ties.clone()).collect(),
        open: open.into_iter().collect(),
        links: links.into_iter().collect(),
        ..Row::new(What::Folded, text)
    }
}

fn kind(row: &Row) -> &str {
    match row.what {
        What::Arrow(_) => row.text.split([' ', ':']).next().unwrap_or_default(),
        What::Change(..) => "changes of a process",
        What::Link(..) => "changes of a link",
        What::Note | What::Folded => "notes of the check",
    }
}
