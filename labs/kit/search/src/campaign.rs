//! A whole search: the clean run, then one run for each fault, several beside each other.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use check::run::{Package, Sandboxes, Status};
use check::{Check, Failure, Stop};
use process::stop;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::fault::{self, Fault};
use crate::play::{Baseline, Notes, Plan, Trouble, play};
use crate::scenario::Scenario;
use crate::shrink::Smallest;
use crate::story;

/// How many runs go on beside each other. Each waits far more than it works.
pub const AT_ONCE: usize = 6;
/// How many of them may have a node of their own: each takes 160 MB.
const OWN_NODES: usize = 2;
/// How often a run of which nothing can be said is run again.
const AGAIN: usize = 2;
/// How long pairs are tried where no time is given: there are thousands.
const FOR_PAIRS: Duration = Duration::from_secs(60);
/// What each run promises.
const SAYS: &str = "each operation answered with success has its effect once";

/// How one run ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// As a run without a fault.
    Well,
    /// Something was wrong.
    Found(Found),
    /// The point of the fault was not reached.
    Missed,
    /// Nothing can be said.
    Void(String),
}

/// What was wrong in a run.
#[derive(Debug, Clone)]
pub struct Found {
    /// In the field's word.
    pub trouble: Trouble,
    /// What was expected and observed.
    pub failure: Failure,
    /// The mark that it is about.
    pub mark: Option<String>,
}

/// One run that is over.
#[derive(Debug, Clone)]
pub struct Played {
    /// Its faults.
    pub faults: Vec<Fault>,
    /// How it ended.
    pub ending: Ending,
    /// Its journal.
    pub trace: PathBuf,
    /// What it passed.
    pub baseline: Baseline,
    /// The marks of what was promised, in order.
    pub promised: Vec<String>,
}

impl Played {
    /// The mark that was promised here when `other` promised `mark`: a command gives new ids in each
    /// run.
    #[must_use]
    pub fn mark_of(&self, other: &Self, mark: Option<&str>) -> Option<String> {
        let mark = mark?;
        let at = other.promised.iter().position(|own| own == mark);
        let here = at.and_then(|at| self.promised.get(at));
        Some(here.map_or(mark, String::as_str).to_owned())
    }
}

/// What plays need.
pub struct Field {
    /// Where they are run.
    pub sandboxes: Sandboxes,
    /// What is run.
    pub scenario: Scenario,
    /// How the clean run ended.
    pub baseline: Option<Rc<Baseline>>,
    nodes: Semaphore,
}

impl Field {
    /// Runs a plan once, in a folder of that name.
    pub async fn once(&self, name: &str, plan: Plan) -> Played {
        let own = plan.faults.iter().any(Fault::hits_broker);
        let _node = match own {
            true => self.nodes.acquire().await.ok(),
            false => None,
        };
        let notes = Rc::new(Notes::default());
        let faults = plan.faults.clone();
        let (kept, noted) = (notes.clone(), faults.len());
        let body = Check::new(name, SAYS, verdict::NO_HOLE, move |lab| {
            play(lab, plan.clone(), kept.clone())
        });
        let verdict = self.sandboxes.run(body).await;
        let reached = notes.reached.borrow().len() == noted;
        let ending = match verdict.outcome {
            Ok(()) if !reached => Ending::Missed,
            Ok(()) => Ending::Well,
            Err(Stop::Unknown(reason)) => Ending::Void(reason),
            Err(Stop::Failed(failure)) => Ending::Found(Found {
                trouble: notes.trouble.get().unwrap_or(Trouble::Died),
                failure: *failure,
                mark: notes.mark.take(),
            }),
        };
        Played {
            faults,
            ending,
            trace: verdict.trace,
            baseline: notes.baseline.take(),
            promised: {
                let promised = notes.promised.borrow();
                promised.iter().map(|one| one.mark.clone()).collect()
            },
        }
    }

    /// The same until something can be said, a few times.
    pub async fn surely(&self, name: &str, plan: Plan) -> Played {
        let mut played = self.once(name, plan.clone()).await;
        for _ in 0..AGAIN {
            match played.ending {
                Ending::Void(_) | Ending::Missed => played = self.once(name, plan.clone()).await,
                Ending::Well | Ending::Found(_) => break,
            }
        }
        if matches!(played.ending, Ending::Well | Ending::Missed)
            && let Some(dir) = played.trace.parent()
        {
            // It has told nothing.
            let _ = std::fs::remove_dir_all(dir);
        }
        played
    }

    /// A plan of these faults, with all operations and parts.
    #[must_use]
    pub fn plan(&self, faults: Vec<Fault>) -> Plan {
        Plan {
            operations: self.scenario.operations,
            scenario: self.scenario.clone(),
            faults,
            without: Vec::new(),
            baseline: self.baseline.clone(),
        }
    }
}

/// What a search keeps for the next one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tried {
    /// Of the program that was searched, and of the search itself.
    programs: u64,
    seed: u64,
    /// The faults that have shown nothing.
    well: Vec<String>,
}

/// What a search was, for `--json`.
#[derive(Debug, Default, Serialize)]
pub struct Sum {
    /// The chapter's number.
    pub chapter: String,
    /// Points of the clean run.
    pub points: usize,
    /// Faults at them.
    pub faults: usize,
    /// Tried, and nothing shown.
    pub well: usize,
    /// Whose point was not reached.
    pub missed: usize,
    /// Of which nothing can be said.
    pub void: usize,
    /// What was found, by its fault.
    pub found: BTreeMap<String, String>,
    /// The first of them, made as small as it can be.
    pub smallest: Option<Small>,
    /// Whether all faults were tried.
    pub whole: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// The smallest fault that shows something, for `--json`.
#[derive(Debug, Serialize)]
pub struct Small {
    /// The faults.
    pub faults: Vec<String>,
    /// What it shows.
    pub trouble: String,
    /// How many operations it takes.
    pub operations: usize,
    /// The hole to look at.
    pub hole: Option<u32>,
    /// In how many of so many runs it shows.
    pub of: (usize, usize),
}

impl From<&Smallest> for Small {
    fn from(smallest: &Smallest) -> Self {
        Self {
            faults: smallest
                .plan
                .faults
                .iter()
                .map(ToString::to_string)
                .collect(),
            trouble: smallest.found.trouble.word().to_owned(),
            operations: smallest.plan.operations,
            hole: smallest.found.failure.hole,
            of: smallest.of,
        }
    }
}

/// Searches as the arguments say.
///
/// # Errors
/// When the run's files cannot be written, or there is no broker.
pub async fn search(package: Package, scenario: Scenario, arguments: &Arguments) -> Result<Status> {
    let progress = |line: &str| anstream::eprintln!("{line}");
    let needs = (scenario.broker, scenario.hole_for);
    let opened = Sandboxes::open(package, "search", needs, arguments.seed, &progress).await?;
    let sandboxes = opened.map_err(|none| terminal::user_error(none.why, none.mend))?;
    let mut field = Field {
        sandboxes,
        scenario: Scenario {
            operations: arguments.operations.unwrap_or(scenario.operations),
            ..scenario
        },
        baseline: None,
        nodes: Semaphore::new(OWN_NODES),
    };
    story::header(&field.sandboxes);
    let clean = field.surely("clean", field.plan(Vec::new())).await;
    match clean.ending {
        Ending::Missed | Ending::Well => {}
        Ending::Void(reason) => {
            story::nothing_to_say(&reason);
            return Ok(Status::Unknown);
        }
        Ending::Found(found) => {
            story::not_clean(&field.sandboxes, &found);
            return Ok(Status::Fail);
        }
    }
    let baseline = clean.baseline;
    field.baseline = Some(Rc::new(baseline.clone()));
    if !arguments.fault.is_empty() {
        return again(&field, arguments).await;
    }
    let calls = field.scenario.parts.iter();
    let calls = calls.filter_map(|part| Some((part.name.to_owned(), part.calls?.0.to_owned())));
    let mut faults = fault::all(&baseline.passed, &calls.collect());
    if arguments.list {
        faults
            .iter()
            .for_each(|fault| anstream::println!("{fault}"));
        return Ok(Status::Pass);
    }
    let points = baseline.passed.values().map(|(_, count)| count).sum();
    let mut sum = Sum {
        chapter: field.sandboxes.chapter.number.clone(),
        points,
        faults: faults.len(),
        ..Sum::default()
    };
    let file = field.sandboxes.dir().join("tried.json");
    let mut tried = earlier(&file, &field, arguments);
    if !arguments.pairs {
        faults.retain(|fault| !tried.well.contains(&fault.to_string()));
    }
    story::begins(&sum, tried.well.len(), arguments.budget);
    sum.well = tried.well.len();
    let field = Rc::new(field);
    let plans = plans(faults, arguments);
    if arguments.pairs {
        (sum.faults, sum.well) = (plans.len(), 0);
    }
    let budget = arguments.budget.or(arguments.pairs.then_some(FOR_PAIRS));
    let limits = (budget, arguments.keep_going);
    let searched = all(&field, plans, limits, &mut sum, &mut tried).await?;
    std::fs::write(&file, serde_json::to_string(&tried)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let status = match (&searched.first, searched.stopped) {
        (Some((first, found)), _) => {
            let smallest = Smallest::of(&field, first, found).await;
            if smallest.of.0 > 0 {
                story::tell(&field, &smallest);
                sum.smallest = Some(Small::from(&smallest));
                Status::Fail
            } else {
                // Perhaps it was the machine.
                story::not_again(&smallest);
                sum.found.remove(&named(&first.faults));
                sum.void += 1;
                if sum.found.is_empty() {
                    Status::Pass
                } else {
                    Status::Fail
                }
            }
        }
        (None, true) => Status::Unknown,
        (None, false) => Status::Pass,
    };
    story::sum(&field, &sum);
    let report = field.sandboxes.dir().join("search.json");
    for path in [Some(&report), arguments.json.as_ref()]
        .into_iter()
        .flatten()
    {
        std::fs::write(path, serde_json::to_string_pretty(&sum)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(status)
}

/// What each run is to have: one of these faults, or each two of them, the most telling first.
fn plans(faults: Vec<Fault>, arguments: &Arguments) -> Vec<Vec<Fault>> {
    if !arguments.pairs {
        return faults.into_iter().map(|fault| vec![fault]).collect();
    }
    let mut pairs = Vec::new();
    for (index, one) in faults.iter().enumerate() {
        for other in &faults[index + 1..] {
            if one.point != other.point {
                pairs.push(vec![one.clone(), other.clone()]);
            }
        }
    }
    pairs.sort_by_key(|pair| pair.iter().map(|fault| fault.rank().0).sum::<usize>());
    pairs
}

/// What became of all runs of a search.
struct Searched {
    /// The first that showed something.
    first: Option<(Played, Found)>,
    /// Whether a person stopped it.
    stopped: bool,
}

/// Runs one plan for each of these lists of faults, several beside each other.
async fn all(
    field: &Rc<Field>,
    plans: Vec<Vec<Fault>>,
    (budget, keep_going): (Option<Duration>, bool),
    sum: &mut Sum,
    tried: &mut Tried,
) -> Result<Searched> {
    let began = Instant::now();
    let mut searched = Searched {
        first: None,
        stopped: false,
    };
    let all = plans.len();
    let mut waiting = plans.into_iter().enumerate();
    let mut under_way = JoinSet::new();
    let mut progress = story::Progress::new(all, budget);
    let asked = stop::asked();
    tokio::pin!(asked);
    loop {
        let over = budget.is_some_and(|budget| began.elapsed() > budget)
            || (searched.first.is_some() && !keep_going);
        while !over && under_way.len() < AT_ONCE {
            let Some((number, faults)) = waiting.next() else {
                break;
            };
            let field = field.clone();
            under_way.spawn_local(async move {
                let plan = field.plan(faults);
                field.surely(&format!("fault-{number}"), plan).await
            });
        }
        if over && searched.first.is_some() {
            break; // What is under way ends with its sandbox.
        }
        let played = tokio::select! {
            played = under_way.join_next() => match played {
                Some(played) => played.context("a run cannot be followed")?,
                None => break,
            },
            _ = &mut asked => {
                searched.stopped = true;
                break;
            }
        };
        let name = named(&played.faults);
        match &played.ending {
            Ending::Well => {
                sum.well += 1;
                if let [_] = played.faults.as_slice() {
                    tried.well.push(name);
                }
            }
            Ending::Missed => sum.missed += 1,
            Ending::Void(reason) => {
                sum.void += 1;
                progress.aside(&format!("{name}: nothing can be said: {reason}"));
            }
            Ending::Found(found) => {
                sum.found
                    .insert(name.clone(), found.trouble.word().to_owned());
                progress.aside(&format!("{name}: {}", found.trouble.word()));
                let found = found.clone();
                searched.first.get_or_insert((played, found));
            }
        }
        progress.step(sum);
    }
    drop(under_way);
    progress.end();
    sum.whole = sum.well + sum.missed + sum.void + sum.found.len() == sum.faults;
    sum.seconds = began.elapsed().as_secs_f64();
    Ok(searched)
}

/// The faults of one run, as they are typed.
#[must_use]
pub fn named(faults: &[Fault]) -> String {
    let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
    names.join(" and ")
}

/// Plays the faults that were typed, so many times.
async fn again(field: &Field, arguments: &Arguments) -> Result<Status> {
    let mut plan = field.plan(arguments.fault.clone());
    for left_out in &arguments.without {
        let part = field
            .scenario
            .parts
            .iter()
            .find(|part| part.name == left_out);
        let part = part.with_context(|| format!("the scenario has no service `{left_out}`"))?;
        plan.without.push(part.name);
    }
    if !plan.without.is_empty() {
        // What a run without them ends with is not what one with them ends with.
        let mut clean = plan.clone();
        (clean.faults, clean.baseline) = (Vec::new(), None);
        let clean = field.surely("clean", clean).await;
        if let Ending::Found(found) = clean.ending {
            story::not_clean(&field.sandboxes, &found);
            return Ok(Status::Fail);
        }
        plan.baseline = Some(Rc::new(clean.baseline));
    }
    let mut all = Vec::new();
    for number in 1..=arguments.times {
        let played = field.once(&format!("again-{number}"), plan.clone()).await;
        story::once(number, &played);
        all.push(played);
    }
    Ok(story::outcome(field, &all))
}

/// What an earlier search of the same programs has tried.
fn earlier(file: &Path, field: &Field, arguments: &Arguments) -> Tried {
    let programs = programs(field.sandboxes.program());
    let fresh = Tried {
        programs,
        seed: arguments.seed,
        well: Vec::new(),
    };
    if arguments.fresh {
        return fresh;
    }
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let tried: Option<Tried> = serde_json::from_str(&text).ok();
    tried
        .filter(|tried| tried.programs == programs && tried.seed == arguments.seed)
        .unwrap_or(fresh)
}

/// Of the bytes of the program that is searched, and of this one.
fn programs(program: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let own = std::env::current_exe().unwrap_or_default();
    for path in [program, &own] {
        std::fs::read(path).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}
