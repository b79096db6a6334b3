//! Makes a fault that shows something small: fewest faults, operations and services.

use std::rc::Rc;

use check::wiretap::Edge;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fault::Fault;
use crate::plan::Plan;
use crate::runner::{AT_ONCE, Ending, Finished, Found, Runner};

/// How often the smallest fault is finished, to say how surely it shows.
const TIMES: usize = 5;

/// How many faults next to it are tried for one that goes well.
const NEIGHBOURS: usize = 5;

/// The smallest plan that still shows the same.
pub struct Smallest {
    /// The plan.
    pub plan: Plan,
    /// A run of it that showed something.
    pub shown: Finished,
    /// What that was.
    pub found: Found,
    /// In how many runs it showed.
    pub of: (usize, usize),
    /// The nearest fault that shows nothing, and its run.
    pub well: Option<Finished>,
}

impl Smallest {
    /// Shrinks the plan of a run that showed something, unless it is told not to.
    pub async fn of(runner: &Rc<Runner>, shown: &(Finished, Found), shrink: bool) -> Self {
        let mut smallest = Self {
            plan: runner.plan(shown.0.faults.clone()),
            shown: shown.0.clone(),
            found: shown.1.clone(),
            of: (1, 1),
            well: None,
        };
        if shrink {
            let fewer = smallest.fewer_faults();
            smallest.take_first(runner, fewer).await;
            let fewer = smallest.fewer_operations();
            smallest.take_first(runner, fewer).await;
            smallest.fewer_services(runner).await;
        }
        smallest.count(runner).await;
        if shrink {
            smallest.find_well(runner).await;
        }
        smallest
    }

    /// Whether this run shows the same.
    fn is_shown_by(&self, finished: &Finished) -> bool {
        matches!(&finished.ending, Ending::Found(found) if found.trouble == self.found.trouble)
    }

    /// Takes the first of these plans, if there is one, that shows the same twice.
    async fn take_first(&mut self, runner: &Rc<Runner>, plans: Vec<Plan>) {
        for some in plans.chunks(AT_ONCE / 2) {
            let twice: Vec<_> = some.iter().flat_map(|plan| [plan, plan]).cloned().collect();
            for both in all(runner, &twice).await.chunks(2) {
                if both.iter().all(|(_, finished)| self.is_shown_by(finished))
                    && let [(plan, finished), ..] = both
                    && let Ending::Found(found) = &finished.ending
                {
                    self.found = found.clone();
                    self.shown = keep(finished.clone());
                    self.plan = plan.clone();
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
    async fn fewer_services(&mut self, runner: &Rc<Runner>) {
        let hit = |role: &&'static str| {
            let mut faults = self.plan.faults.iter();
            faults.any(|fault| fault.target == **role || fault.point.at == **role)
        };
        let roles = runner.scenario.roles.iter().map(|role| role.name);
        let others: Vec<_> = roles.filter(|role| !hit(role)).collect();
        let clean = |without: Vec<&'static str>| Plan {
            without,
            faults: Vec::new(),
            // The queues and consumers of these services are not missed.
            baseline: None,
            ..self.plan.clone()
        };
        let each: Vec<Plan> = others.iter().map(|role| clean(vec![*role])).collect();
        let without = |(plan, finished): (Plan, Finished)| {
            let well = matches!(finished.ending, Ending::Well);
            well.then_some((plan.without, Rc::new(finished.baseline)))
        };
        let alone = all(runner, &each).await.into_iter().filter_map(without);
        let mut fewer: Vec<_> = alone.collect();
        if fewer.len() > 1 {
            let together = clean(fewer.iter().flat_map(|(role, _)| role.clone()).collect());
            let together = all(runner, &[together])
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
        self.take_first(runner, plans).await;
    }

    async fn count(&mut self, runner: &Rc<Runner>) {
        let finished = all(runner, &vec![self.plan.clone(); TIMES]).await;
        let shown = finished
            .iter()
            .filter(|(_, finished)| self.is_shown_by(finished));
        self.of = (shown.count(), TIMES);
    }

    /// The same fault on the other side of the frame, or at a frame before or after it.
    async fn find_well(&mut self, runner: &Rc<Runner>) {
        let [fault] = self.plan.faults.as_slice() else {
            return;
        };
        let near = neighbours(fault, runner).into_iter().map(|near| Plan {
            faults: vec![near],
            ..self.plan.clone()
        });
        let finished = all(runner, &near.collect::<Vec<_>>()).await;
        let mut well = finished.into_iter().map(|(_, finished)| finished);
        self.well = well.find(|finished| matches!(finished.ending, Ending::Well));
    }
}

/// Runs these plans beside each other, and gives each with its run, in their order.
async fn all(runner: &Rc<Runner>, plans: &[Plan]) -> Vec<(Plan, Finished)> {
    let mut under_way = JoinSet::new();
    let places = Rc::new(Semaphore::new(AT_ONCE));
    for (number, plan) in plans.iter().cloned().enumerate() {
        let (runner, places) = (runner.clone(), places.clone());
        under_way.spawn_local(async move {
            let _place = places.acquire().await;
            let finished = runner
                .once(&format!("smaller-{number}"), plan.clone())
                .await;
            (number, plan, finished)
        });
    }
    let mut finished = under_way.join_all().await;
    finished.sort_by_key(|(number, ..)| *number);
    let finished = finished.into_iter();
    finished
        .map(|(_, plan, finished)| (plan, finished))
        .collect()
}

/// The faults next to this one, the nearest first.
fn neighbours(fault: &Fault, runner: &Runner) -> Vec<Fault> {
    let mut other = fault.clone();
    other.point.edge = match fault.point.edge {
        Edge::Before => Edge::After,
        Edge::After => Edge::Before,
    };
    let passed = runner.baseline.iter().flat_map(|baseline| &baseline.passed);
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
fn keep(mut finished: Finished) -> Finished {
    if let Some(dir) = finished.trace.parent() {
        let kept = dir.with_file_name("found");
        let _ = std::fs::remove_dir_all(&kept);
        if std::fs::rename(dir, &kept).is_ok()
            && let Some(file) = finished.trace.file_name()
        {
            finished.trace = kept.join(file);
        }
    }
    finished
}
