//! A whole search: the clean run, then one run for each fault, several beside each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use check::run::{Package, Sandboxes, Status};
use process::stop;
use serde::Serialize;
use terminal::user_error;
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::fault::{self, BROKER, Fault};
use crate::report::{Small, Sum, Tried};
use crate::runner::{AT_ONCE, Ending, Finished, Found, Runner};
use crate::scenario::Scenario;
use crate::shrink::Smallest;
use crate::telling::{self, Progress};

/// Searches as the arguments say, and gives the exit code.
///
/// # Errors
/// When the run's files cannot be written, or there is no broker.
pub async fn search(package: Package, scenario: Scenario, arguments: &Arguments) -> Result<u8> {
    let progress = |line: &str| anstream::eprintln!("{line}");
    let needs = (scenario.broker, scenario.hole_for);
    let opened = Sandboxes::open(package, "search", needs, arguments.seed, &progress).await?;
    let sandboxes = opened.map_err(|none| user_error(none.why, none.mend))?;
    let operations = arguments.operations.unwrap_or(scenario.operations);
    let scenario = Scenario {
        operations,
        ..scenario
    };
    let mut runner = Runner::new(sandboxes, scenario);
    telling::header(&runner.sandboxes);
    let clean = runner.surely("clean", runner.plan(Vec::new())).await;
    if let Some(status) = telling::not_clean(&runner.sandboxes, &clean.ending) {
        return Ok(status.code());
    }
    runner.baseline = Some(Rc::new(clean.baseline));
    if !arguments.fault.is_empty() {
        return Ok(again(&runner, arguments).await?.code());
    }
    let faults = faults(&runner);
    if arguments.list {
        faults
            .iter()
            .for_each(|fault| anstream::println!("{fault}"));
        return Ok(Status::Pass.code());
    }
    try_all(&Rc::new(runner), faults, arguments).await
}

/// The faults at all points of the clean run, the most telling first.
fn faults(runner: &Runner) -> Vec<Fault> {
    let roles = runner.scenario.roles.iter();
    let calls = roles.filter_map(|role| Some((role.name.to_owned(), role.calls?.0.to_owned())));
    let passed = runner.baseline.iter().map(|baseline| &baseline.passed);
    let calls = calls.collect();
    passed
        .flat_map(|passed| fault::all(passed, &calls))
        .collect()
}

async fn try_all(runner: &Rc<Runner>, faults: Vec<Fault>, arguments: &Arguments) -> Result<u8> {
    let dir = runner.sandboxes.dir();
    let file = dir.join("tried.json");
    let of = (arguments.seed, runner.scenario.operations);
    let mut tried = Tried::read(&file, runner.sandboxes.program(), of);
    if arguments.fresh {
        tried.well.clear();
    }
    let known: BTreeSet<&String> = tried.well.iter().collect();
    let pairs = fault::pairs(if arguments.pairs { &faults } else { &[] });
    let (alone, together) = (faults.len(), pairs.len());
    let all = faults.into_iter().map(|fault| vec![fault]).chain(pairs);
    let plans: Vec<_> = all.filter(|plan| !known.contains(&named(plan))).collect();
    let passed = runner.baseline.iter().map(|baseline| &baseline.passed);
    let mut search = Search {
        sum: Sum {
            chapter: runner.sandboxes.chapter.number.clone(),
            points: passed
                .flat_map(BTreeMap::values)
                .map(|(_, count)| count)
                .sum(),
            faults: alone + together,
            pairs: together,
            well: alone + together - plans.len(),
            ..Sum::default()
        },
        arguments,
        began: Instant::now(),
        shown: VecDeque::new(),
    };
    telling::begins(&search.sum, arguments.budget);
    let mut progress = Progress::new(plans.len(), arguments.budget);
    let code = tokio::select! {
        code = search.look(runner, plans, &mut tried, &mut progress) => code?,
        code = stop::asked() => code?,
    };
    progress.end();
    let sum = &mut search.sum;
    sum.whole = sum.well + sum.missed + sum.void + sum.found.len() == sum.faults;
    sum.seconds = search.began.elapsed().as_secs_f64();
    telling::sum(runner, sum);
    write(&file, &tried)?;
    for path in std::iter::once(&dir.join("search.json")).chain(&arguments.json) {
        write(path, &search.sum)?;
    }
    Ok(code)
}

fn write(path: &Path, what: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(what)? + "\n";
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A search under way.
struct Search<'a> {
    sum: Sum,
    arguments: &'a Arguments,
    began: Instant,
    /// Runs that showed something, and have not been looked into.
    shown: VecDeque<(Finished, Found)>,
}

impl Search<'_> {
    /// Runs these plans until one shows something, also when it is run again. Gives the exit code.
    async fn look(
        &mut self,
        runner: &Rc<Runner>,
        plans: Vec<Vec<Fault>>,
        tried: &mut Tried,
        progress: &mut Progress,
    ) -> Result<u8> {
        let mut waiting = plans.into_iter().enumerate();
        while let Some(shown) = self.next(runner, &mut waiting, tried, progress).await? {
            let smallest = Smallest::of(runner, &shown, !self.arguments.no_shrink).await;
            if smallest.of.0 > 0 {
                telling::tell(runner, &smallest);
                self.sum.smallest = Some(Small::from(&smallest));
                return Ok(Status::Fail.code());
            }
            // Perhaps it was the machine.
            telling::not_again(&smallest);
            self.sum.found.remove(&named(&shown.0.faults));
            self.sum.void += 1;
        }
        Ok(Status::Pass.code())
    }

    /// Runs what waits, several beside each other, until something shows, or all is done. Gives the
    /// next run that showed something: others may have shown something while the first one ended.
    async fn next(
        &mut self,
        runner: &Rc<Runner>,
        waiting: &mut impl Iterator<Item = (usize, Vec<Fault>)>,
        tried: &mut Tried,
        progress: &mut Progress,
    ) -> Result<Option<(Finished, Found)>> {
        let mut under_way = JoinSet::new();
        loop {
            let over = self
                .arguments
                .budget
                .is_some_and(|budget| self.began.elapsed() > budget)
                || (!self.shown.is_empty() && !self.arguments.keep_going);
            while !over && under_way.len() < AT_ONCE {
                let Some((number, faults)) = waiting.next() else {
                    break;
                };
                let runner = runner.clone();
                under_way.spawn_local(async move {
                    let plan = runner.plan(faults);
                    runner.surely(&format!("fault-{number}"), plan).await
                });
            }
            let Some(finished) = under_way.join_next().await else {
                break;
            };
            let finished = finished.context("a run cannot be followed")?;
            if let Some(found) = self.count(&finished, tried, progress) {
                self.shown.push_back((finished, found));
            }
            progress.step(&self.sum);
        }
        progress.end();
        Ok(self.shown.pop_front())
    }

    /// Counts a run, and gives what it found.
    fn count(
        &mut self,
        finished: &Finished,
        tried: &mut Tried,
        progress: &Progress,
    ) -> Option<Found> {
        let name = named(&finished.faults);
        match &finished.ending {
            Ending::Well => {
                self.sum.well += 1;
                tried.well.push(name);
            }
            Ending::Missed => self.sum.missed += 1,
            Ending::Void(reason) => {
                self.sum.void += 1;
                progress.aside(&format!("{name}: nothing can be said: {reason}"));
            }
            Ending::Found(found) => {
                let word = found.trouble.word();
                progress.aside(&format!("{name}: {word}"));
                self.sum.found.insert(name, word.to_owned());
                return Some(found.clone());
            }
        }
        None
    }
}

/// The faults of one run, as they are typed.
pub fn named(faults: &[Fault]) -> String {
    let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// Plays the faults that were typed, so many times.
async fn again(runner: &Runner, arguments: &Arguments) -> Result<Status> {
    let all: Vec<_> = runner.scenario.roles.iter().map(|role| role.name).collect();
    let typed = &arguments.fault;
    let at = typed.iter().flat_map(|one| [&one.target, &one.point.at]);
    let unknown = |name: &&String| !all.contains(&name.as_str()) && *name != BROKER;
    if let Some(name) = at.chain(&arguments.without).find(unknown) {
        let what = format!("the scenario has no service `{name}`");
        return Err(user_error(what, format!("name one of: {}", all.join(", "))));
    }
    if typed.iter().filter(|one| one.hits_broker()).count() > 1 {
        let what = "a run kills the broker once";
        return Err(user_error(what, "leave one of these faults out"));
    }
    let mut plan = runner.plan(typed.clone());
    let left_out = |name: &&str| arguments.without.iter().any(|out| out == name);
    plan.without.extend(all.iter().copied().filter(left_out));
    if !plan.without.is_empty() {
        // What a run without them ends with is not what one with them ends with.
        let mut clean = plan.clone();
        (clean.faults, clean.baseline) = (Vec::new(), None);
        let clean = runner.surely("clean", clean).await;
        if let Some(status) = telling::not_clean(&runner.sandboxes, &clean.ending) {
            return Ok(status);
        }
        plan.baseline = Some(Rc::new(clean.baseline));
    }
    let mut runs = Vec::new();
    for number in 1..=arguments.times {
        runs.push(runner.once(&format!("again-{number}"), plan.clone()).await);
        telling::once(number, &runs[runs.len() - 1]);
    }
    Ok(telling::outcome(runner, &runs))
}
