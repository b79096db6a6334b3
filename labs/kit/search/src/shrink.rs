//! Makes a fault that shows something small: fewest faults, operations and services.

use std::rc::Rc;

use check::wiretap::Edge;

use crate::campaign::{Ending, Field, Found, Played};
use crate::fault::Fault;
use crate::play::Plan;

/// How often the smallest fault is played, to say how surely it shows.
const TIMES: usize = 5;

/// How often a smaller plan is played before it counts as one that shows nothing.
const TRIES: usize = 2;

/// How many faults next to it are tried for one that goes well.
const NEIGHBOURS: usize = 5;

/// The smallest plan that still shows the same.
pub struct Smallest {
    /// The plan.
    pub plan: Plan,
    /// A run of it that showed something.
    pub shown: Played,
    /// What that was.
    pub found: Found,
    /// In how many runs it showed.
    pub of: (usize, usize),
    /// The nearest fault that shows nothing, and its run.
    pub well: Option<Played>,
}

impl Smallest {
    /// Shrinks the plan of a run that showed something.
    pub async fn of(field: &Field, shown: &Played) -> Self {
        let Ending::Found(found) = shown.ending.clone() else {
            unreachable!("only what showed something is made smaller");
        };
        let mut smallest = Self {
            plan: field.plan(shown.faults.clone()),
            shown: shown.clone(),
            found,
            of: (1, 1),
            well: None,
        };
        smallest.fewer_faults(field).await;
        smallest.fewer_operations(field).await;
        smallest.fewer_services(field).await;
        smallest.count(field).await;
        smallest.find_well(field).await;
        smallest
    }

    /// Takes this plan instead, if it shows the same.
    async fn take(&mut self, field: &Field, plan: Plan) -> bool {
        for _ in 0..TRIES {
            let played = field.once("smaller", plan.clone()).await;
            match &played.ending {
                Ending::Found(found) if found.trouble == self.found.trouble => {
                    self.found = found.clone();
                    self.shown = keep(played);
                    self.plan = plan;
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    async fn fewer_faults(&mut self, field: &Field) {
        if self.plan.faults.len() < 2 {
            return;
        }
        for fault in self.plan.faults.clone() {
            let mut plan = self.plan.clone();
            plan.faults = vec![fault];
            if self.take(field, plan).await {
                return;
            }
        }
    }

    /// With fewer operations the fault is at an earlier frame of its kind.
    async fn fewer_operations(&mut self, field: &Field) {
        let [fault] = self.plan.faults.as_slice() else {
            return;
        };
        let fault = fault.clone();
        for operations in 1..self.plan.operations {
            for nth in 1..=fault.point.nth.min(operations) {
                let mut earlier: Fault = fault.clone();
                earlier.point.nth = nth;
                let mut plan = self.plan.clone();
                (plan.operations, plan.faults) = (operations, vec![earlier]);
                if self.take(field, plan).await {
                    return;
                }
            }
        }
    }

    async fn fewer_services(&mut self, field: &Field) {
        for part in field.scenario.parts.iter().map(|part| part.name) {
            let hit = |fault: &Fault| fault.target == part || fault.point.at == part;
            if self.plan.faults.iter().any(hit) {
                continue;
            }
            let mut plan = self.plan.clone();
            plan.without.push(part);
            // Without a fault it must go well, or the part is needed.
            let mut clean = plan.clone();
            clean.faults.clear();
            // Its queues and consumers may be missed.
            clean.baseline = None;
            let clean = field.once("smaller", clean).await;
            if matches!(clean.ending, Ending::Well) {
                plan.baseline = Some(Rc::new(clean.baseline));
                self.take(field, plan).await;
            }
        }
    }

    /// The same fault on the other side of the frame, or at a frame before or after it.
    async fn find_well(&mut self, field: &Field) {
        let [fault] = self.plan.faults.as_slice() else {
            return;
        };
        for near in neighbours(fault, field) {
            let mut plan = self.plan.clone();
            plan.faults = vec![near];
            let played = field.once("nearest", plan).await;
            if matches!(played.ending, Ending::Well) {
                self.well = Some(played);
                return;
            }
        }
    }

    async fn count(&mut self, field: &Field) {
        let mut shown = 0;
        for _ in 0..TIMES {
            let played = field.once("smaller", self.plan.clone()).await;
            if let Ending::Found(found) = &played.ending {
                shown += usize::from(found.trouble == self.found.trouble);
            }
        }
        self.of = (shown, TIMES);
    }
}

/// The faults next to this one, the nearest first.
fn neighbours(fault: &Fault, field: &Field) -> Vec<Fault> {
    let mut other = fault.clone();
    other.point.edge = match fault.point.edge {
        Edge::Before => Edge::After,
        Edge::After => Edge::Before,
    };
    let passed = field.baseline.iter().flat_map(|baseline| &baseline.passed);
    let steps = passed.filter(|((at, _), _)| *at == fault.point.at);
    let steps = steps.flat_map(|(_, &(step, _))| {
        [Edge::Before, Edge::After].map(|edge| {
            let mut near = fault.clone();
            (near.point.step, near.point.edge) = (step, edge);
            near
        })
    });
    let steps = steps.filter(|near| near.point.step != fault.point.step);
    std::iter::once(other)
        .chain(steps)
        .take(NEIGHBOURS)
        .collect()
}

/// Keeps the files of a run from those of the next.
fn keep(mut played: Played) -> Played {
    if let Some(dir) = played.trace.parent() {
        let kept = dir.with_file_name("found");
        let _ = std::fs::remove_dir_all(&kept);
        if std::fs::rename(dir, &kept).is_ok()
            && let Some(file) = played.trace.file_name()
        {
            played.trace = kept.join(file);
        }
    }
    played
}
