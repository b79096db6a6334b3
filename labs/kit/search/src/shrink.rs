//! Makes a fault that shows something small: fewest faults, operations and services.

use std::rc::Rc;

use check::wiretap::Edge;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::campaign::{AT_ONCE, Ending, Field, Found, Played};
use crate::fault::Fault;
use crate::play::Plan;

/// How often the smallest fault is played, to say how surely it shows.
const TIMES: usize = 5;

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
    pub async fn of(field: &Rc<Field>, shown: &Played, found: &Found) -> Self {
        let mut smallest = Self {
            plan: field.plan(shown.faults.clone()),
            shown: shown.clone(),
            found: found.clone(),
            of: (1, 1),
            well: None,
        };
        let fewer = smallest.fewer_faults();
        smallest.take_first(field, fewer).await;
        let fewer = smallest.fewer_operations();
        smallest.take_first(field, fewer).await;
        smallest.fewer_services(field).await;
        smallest.count(field).await;
        smallest.find_well(field).await;
        smallest
    }

    /// Whether this run shows the same.
    fn is_shown_by(&self, played: &Played) -> bool {
        matches!(&played.ending, Ending::Found(found) if found.trouble == self.found.trouble)
    }

    /// Takes the first of these plans, if there is one, that shows the same twice.
    async fn take_first(&mut self, field: &Rc<Field>, plans: Vec<Plan>) {
        for (plan, once) in all(field, &plans).await {
            if !self.is_shown_by(&once) {
                continue;
            }
            for (_, played) in all(field, std::slice::from_ref(&plan)).await {
                if let Ending::Found(found) = &played.ending
                    && self.is_shown_by(&played)
                {
                    self.found = found.clone();
                    self.shown = keep(played);
                    self.plan = plan;
                    return;
                }
            }
        }
    }

    /// Each fault alone.
    fn fewer_faults(&self) -> Vec<Plan> {
        let faults = self
            .plan
            .faults
            .iter()
            .filter(|_| self.plan.faults.len() > 1);
        let alone = faults.map(|fault| Plan {
            faults: vec![fault.clone()],
            ..self.plan.clone()
        });
        alone.collect()
    }

    /// With fewer operations the fault is at an earlier frame of its kind.
    fn fewer_operations(&self) -> Vec<Plan> {
        let [fault] = self.plan.faults.as_slice() else {
            return Vec::new();
        };
        let mut plans = Vec::new();
        for operations in 1..self.plan.operations {
            for nth in 1..=fault.point.nth.min(operations) {
                let mut earlier = fault.clone();
                earlier.point.nth = nth;
                plans.push(Plan {
                    operations,
                    faults: vec![earlier],
                    ..self.plan.clone()
                });
            }
        }
        plans
    }

    /// Without all the services that a clean run goes well without, or without one of them.
    async fn fewer_services(&mut self, field: &Rc<Field>) {
        let hit = |part: &&'static str| {
            let mut faults = self.plan.faults.iter();
            faults.any(|fault| fault.target == **part || fault.point.at == **part)
        };
        let parts = field.scenario.parts.iter().map(|part| part.name);
        let others: Vec<_> = parts.filter(|part| !hit(part)).collect();
        let clean = |without: Vec<&'static str>| Plan {
            without,
            faults: Vec::new(),
            // The queues and consumers of these services are not missed.
            baseline: None,
            ..self.plan.clone()
        };
        let each: Vec<Plan> = others.iter().map(|part| clean(vec![*part])).collect();
        let without = |(plan, played): (Plan, Played)| {
            let well = matches!(played.ending, Ending::Well);
            well.then_some((plan.without, Rc::new(played.baseline)))
        };
        let alone = all(field, &each).await.into_iter().filter_map(without);
        let mut fewer: Vec<_> = alone.collect();
        if fewer.len() > 1 {
            let together = clean(fewer.iter().flat_map(|(part, _)| part.clone()).collect());
            let together = all(field, &[together])
                .await
                .into_iter()
                .filter_map(without);
            fewer.splice(0..0, together.collect::<Vec<_>>());
        }
        let plans = fewer.into_iter().map(|(without, baseline)| Plan {
            without,
            baseline: Some(baseline),
            ..self.plan.clone()
        });
        let plans = plans.collect();
        self.take_first(field, plans).await;
    }

    async fn count(&mut self, field: &Rc<Field>) {
        let played = all(field, &vec![self.plan.clone(); TIMES]).await;
        let shown = played.iter().filter(|(_, played)| self.is_shown_by(played));
        self.of = (shown.count(), TIMES);
    }

    /// The same fault on the other side of the frame, or at a frame before or after it.
    async fn find_well(&mut self, field: &Rc<Field>) {
        let [fault] = self.plan.faults.as_slice() else {
            return;
        };
        let near = neighbours(fault, field).into_iter().map(|near| Plan {
            faults: vec![near],
            ..self.plan.clone()
        });
        let played = all(field, &near.collect::<Vec<_>>()).await;
        let mut well = played.into_iter().map(|(_, played)| played);
        self.well = well.find(|played| matches!(played.ending, Ending::Well));
    }
}

/// Runs these plans beside each other, and gives each with its run, in their order.
async fn all(field: &Rc<Field>, plans: &[Plan]) -> Vec<(Plan, Played)> {
    let mut under_way = JoinSet::new();
    let places = Rc::new(Semaphore::new(AT_ONCE));
    for (number, plan) in plans.iter().cloned().enumerate() {
        let (field, places) = (field.clone(), places.clone());
        under_way.spawn_local(async move {
            let _place = places.acquire().await;
            let played = field.once(&format!("smaller-{number}"), plan.clone()).await;
            (number, plan, played)
        });
    }
    let mut played = under_way.join_all().await;
    played.sort_by_key(|(number, ..)| *number);
    let played = played.into_iter();
    played.map(|(_, plan, played)| (plan, played)).collect()
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
