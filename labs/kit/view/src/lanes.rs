//! Which lane stands where: messages mostly go from left to right.

use crate::story::{Kind, Lane, Row, Sort, Story, What};

/// The lanes in the order in which they were first met.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Vec<Lane>);

impl Lanes {
    /// The lane of this name, a new one if need be.
    pub(crate) fn of(&mut self, kind: Kind, name: &str) -> usize {
        let same = |lane: &Lane| lane.kind == kind && lane.name == name;
        self.0.iter().position(same).unwrap_or_else(|| {
            let name = name.to_owned();
            let gets = false;
            self.0.push(Lane { kind, name, gets });
            self.0.len() - 1
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Lane] {
        &self.0
    }

    pub(crate) fn name(&self, lane: usize) -> &str {
        &self.0[lane].name
    }

    /// A lane of the broker, for what is about no exchange and no queue.
    pub(crate) fn any_broker(&mut self) -> usize {
        let broker = |lane: &Lane| matches!(lane.kind, Kind::Exchange | Kind::Queue);
        let found = self.0.iter().position(broker);
        found.unwrap_or_else(|| self.of(Kind::Exchange, ""))
    }

    /// The story of these rows, with the lanes from who sends to who gets. A lane that no row uses is
    /// left out.
    pub(crate) fn in_order(mut self, mut rows: Vec<Row>, gets: impl Fn(usize) -> bool) -> Story {
        for (number, lane) in self.0.iter_mut().enumerate() {
            lane.gets = lane.kind == Kind::Service && gets(number);
        }
        let mut used = vec![false; self.0.len()];
        for row in &mut rows {
            let ties = std::mem::take(&mut row.ties);
            row.lanes(|lane| used[*lane] = true);
            row.ties = ties;
        }
        for row in &mut rows {
            row.ties.retain(|tie| used[tie.from] && used[tie.to]);
        }
        let mut order: Vec<usize> = (0..self.0.len()).filter(|lane| used[*lane]).collect();
        order.sort_by_key(|lane| (rank(&self.0[*lane]), from(*lane, &rows)));
        for row in &mut rows {
            row.lanes(|lane| {
                *lane = order.iter().position(|old| old == lane).unwrap_or_default();
            });
        }
        let lanes = order.iter().map(|lane| self.0[*lane].clone()).collect();
        Story { lanes, rows }
    }
}

impl Row {
    /// Gives `look` each place among the lanes that this row has.
    fn lanes(&mut self, mut look: impl FnMut(&mut usize)) {
        match &mut self.what {
            What::Arrow(arrow) => {
                look(&mut arrow.from);
                look(&mut arrow.to);
                arrow.routed.iter_mut().for_each(&mut look);
            }
            What::Change(Some(lane), _) | What::Link(lane, _) => look(lane),
            What::Change(None, _) | What::Note | What::Folded => {}
        }
        for tie in &mut self.ties {
            look(&mut tie.from);
            look(&mut tie.to);
        }
        let depths = self.depths.iter_mut().map(|(lane, _)| lane);
        let open = self.open.iter_mut().map(|(lane, _)| lane);
        let links = self.links.iter_mut().map(|(lane, _)| lane);
        depths.chain(open).chain(links).for_each(look);
    }
}

/// The first lane from which something is delivered to this one: consumers stand in the order of their
/// queues.
fn from(lane: usize, rows: &[Row]) -> usize {
    let mut arrows = rows.iter().filter_map(|row| match &row.what {
        What::Arrow(arrow) => Some(arrow),
        _ => None,
    });
    let delivery = arrows.find(|arrow| arrow.to == lane && arrow.sort == Sort::Deliver);
    delivery.map_or(0, |arrow| arrow.from)
}

/// Where a lane stands: the check, who sends, exchanges, queues, who gets.
fn rank(lane: &Lane) -> u8 {
    match lane.kind {
        Kind::Check => 0,
        Kind::Service if lane.gets => 4,
        Kind::Service => 1,
        Kind::Exchange => 2,
        Kind::Queue => 3,
    }
}
