//! Runs a chapter's checks: the `main` of every `tests/checks.rs`.

mod arguments;
mod ladder;
mod picture;
mod sandboxes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_lite::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use arguments::Arguments;
pub use course::report::Status;
use ladder::Ladder;
pub use sandboxes::Sandboxes;
pub use verdict::NO_HOLE;
use verdict::{Report, Verdict};

use crate::{Check, Checks, LONGEST, Lab, LabConfig, Outcome, Span, Stop};
use broker::Broker;
use course::chapter::{Chapter, Variant};
use course::parts::Parts;
use course::paths::Paths;
use process::parent;
use process::pressure::Pressure;

/// How many checks run at once, beside the patient ones. Each waits far more than it works.
const AT_ONCE: usize = 6;

/// What the macro [`main!`](crate::main) says of the package under check.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// `lab-02` or `solution-02`.
    pub name: &'static str,
    /// Its folder.
    pub folder: &'static str,
    /// Its program.
    pub program: &'static str,
    /// How long a whole run of its checks may take.
    pub longest: Duration,
}

impl Package {
    /// The program to run: `LAB_PROGRAM`, if that is set.
    fn program(&self) -> PathBuf {
        std::env::var_os("LAB_PROGRAM").map_or_else(|| self.program.into(), Into::into)
    }
}

/// The `main` of a `tests/checks.rs`: runs the checks of these [`Checks`](crate::Checks)
/// against the program of the package that it is compiled for.
#[macro_export]
macro_rules! main {
    ($checks:expr) => {
        fn main() -> std::process::ExitCode {
            $crate::run::main(
                $crate::run::Package {
                    name: env!("CARGO_PKG_NAME"),
                    folder: env!("CARGO_MANIFEST_DIR"),
                    program: env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))),
                    longest: $crate::LONGEST,
                },
                $checks,
            )
        }
    };
}

/// Runs the checks and gives the exit code: 0 all pass, 1 one fails, 2 nothing can be said.
#[must_use]
pub fn main(package: Package, checks: Checks) -> ExitCode {
    broker::dispatch();
    let arguments = Arguments::typed(package.name);
    if arguments.list {
        arguments.print_list(&checks.all);
        return ExitCode::SUCCESS;
    }
    let status = actix_web::rt::System::new().block_on(async {
        // When `just` or `lab` is killed, this run ends too, and the guards see to the rest.
        let follow = async {
            parent::parent_gone().await;
            Ok(Status::Unknown)
        };
        run(package, checks, &arguments).or(follow).await
    });
    let status = status.unwrap_or_else(|error| {
        anstream::eprintln!("{error:#}");
        Status::Unknown
    });
    ExitCode::from(status.code())
}

async fn run(package: Package, checks: Checks, arguments: &Arguments) -> Result<Status> {
    let paths = Paths::find()?;
    let folder = Path::new(package.folder);
    let (chapter, variant) = Chapter::of_package(&paths.root, package.name, folder);
    let parts = Parts::of(&chapter.lab);
    let mut waiting = arguments.of_part(arguments.wanted(checks.all)?, parts)?;
    // The report tells them by part, and in the order in which a student comes to them.
    waiting.sort_by_key(|check| check.hole);
    let mut ladder = Ladder::of(&chapter, variant);
    let dir = match std::env::var_os("LAB_RUN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => paths.data().join(chapter.run_folder(variant)),
    };
    let _lock = lock(&dir, &paths)?;
    let seed = arguments
        .seed
        .unwrap_or_else(|| rand::random_range(1..10_000));
    let number = chapter.number.clone();
    let mut report = Report::new(&paths, chapter, variant, seed).of_lab(
        ladder.sources().cloned(),
        parts.filter(|_| !arguments.picks()),
    );
    let broker = if checks.broker && !waiting.is_empty() {
        match find_broker(&paths, &|line| report.progress(line)).await {
            Ok(broker) => Some(Rc::new(broker)),
            Err(reason) => {
                report.no_broker(waiting.iter().map(Check::waiting).collect(), &reason);
                return report.finish(&dir, arguments.json.as_deref());
            }
        }
    } else {
        None
    };
    report.header(broker.as_deref());
    let pressure = Pressure::start(&dir);
    let runs = Runs {
        span: Span::watched(pressure.watch()),
        pressure,
        paths,
        dir: dir.clone(),
        program: package.program(),
        number,
        seed,
        broker,
        hole_for: checks.hole_for,
        longest: package.longest,
    };
    if arguments.all || arguments.picks() {
        report.open_hole(ladder.open());
        runs.all(waiting, &mut report).await?;
        return report.finish(&dir, arguments.json.as_deref());
    }
    loop {
        report.open_hole(ladder.open());
        runs.all(ladder.step(&mut waiting), &mut report).await?;
        match ladder.open() {
            Some(hole) if !waiting.is_empty() && report.passes(hole) => ladder.climb(),
            _ => break,
        }
    }
    report.wait_for(waiting.iter().map(Check::waiting).collect());
    report.finish(&dir, arguments.json.as_deref())
}

/// Runs checks that bring a broker and services of their own, one after the other, and reports
/// them. A person types `just COMMAND`, with `--lab` for the student's programs.
///
/// # Errors
/// When the run's files cannot be written.
pub async fn one_by_one(
    command: &str,
    (chapter, variant): (&Chapter, Variant),
    checks: Vec<Check>,
    json: Option<&Path>,
) -> Result<Status> {
    let paths = Paths::find()?;
    let dir = paths.data().join(command.replace(' ', "-"));
    let command = match variant {
        Variant::Lab => format!("just {command} --lab"),
        Variant::Solution => format!("just {command}"),
    };
    let _lock = lock(&dir, &paths)?;
    let mut report = Report::new(&paths, chapter.clone(), variant, 0).of_command(&command);
    let pressure = Pressure::start(&dir);
    let runs = Runs {
        span: Span::watched(pressure.watch()),
        pressure,
        paths,
        dir: dir.clone(),
        program: PathBuf::new(),
        number: chapter.number.clone(),
        seed: 0,
        broker: None,
        hole_for: |_| NO_HOLE,
        longest: LONGEST,
    };
    for check in checks {
        // Host checks take their time.
        let left = runs.longest;
        report.show(one(runs.plan(&check), check, left, left).await);
    }
    report.finish(&dir, json)
}

async fn find_broker(paths: &Paths, progress: &dyn Fn(&str)) -> Result<Broker, broker::NoBroker> {
    let broker = Broker::acquire(paths, progress).await?;
    broker
        .sweep("lab.", |name| !belongs_to_a_living_run(name))
        .await;
    Ok(broker)
}

/// A vhost is called `lab.<process id>.<check>`, a user the like.
fn belongs_to_a_living_run(name: &str) -> bool {
    let pid = name.split('.').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(parent::is_alive)
}

/// Makes the folder and holds it for this run alone.
fn lock(dir: &Path, paths: &Paths) -> Result<std::fs::File> {
    let shown = paths.short(dir);
    std::fs::create_dir_all(dir).with_context(|| {
        format!("cannot write to {shown}: the lab keeps its traces there; make room or give write access")
    })?;
    let file = std::fs::File::create(dir.join("lock"))
        .with_context(|| format!("cannot write to {shown}: make room or give write access"))?;
    file.try_lock().map_err(|_| {
        anyhow::anyhow!(
            "another run of these checks is going on in {shown}: wait for it or stop it"
        )
    })?;
    Ok(file)
}

/// What the runs of all checks share.
struct Runs {
    paths: Paths,
    dir: PathBuf,
    program: PathBuf,
    number: String,
    seed: u64,
    broker: Option<Rc<Broker>>,
    pressure: Pressure,
    hole_for: fn(crate::Topic) -> u32,
    /// Since the run began.
    span: Span,
    longest: Duration,
}

impl Runs {
    /// Runs the checks beside each other and reports each as soon as those before it are known.
    async fn all(&self, checks: Vec<Check>, report: &mut Report) -> Result<()> {
        let places = Rc::new(Semaphore::new(AT_ONCE));
        let mut under_way = JoinSet::new();
        let mut waiting: Vec<Option<Verdict>> = Vec::new();
        waiting.resize_with(checks.len(), || None);
        let mut order: Vec<_> = checks.into_iter().enumerate().collect();
        order.sort_by_key(|(_, check)| !check.early);
        for (index, check) in order {
            let (plan, span, longest) = (self.plan(&check), self.span.clone(), self.longest);
            let places = places.clone();
            under_way.spawn_local(async move {
                let _place = match check.patient {
                    true => None,
                    false => Some(places.acquire().await),
                };
                let left = longest.saturating_sub(span.took());
                (index, one(plan, check, left, longest).await)
            });
        }
        let mut shown = 0;
        while let Some(done) = under_way.join_next().await {
            let (index, verdict) =
                done.context("a check cannot be followed: that is the lab's mistake")?;
            waiting[index] = Some(verdict);
            while let Some(verdict) = waiting.get_mut(shown).and_then(Option::take) {
                report.show(verdict);
                shown += 1;
            }
        }
        Ok(())
    }

    fn plan(&self, check: &Check) -> LabConfig {
        LabConfig {
            paths: self.paths.clone(),
            program: self.program.clone(),
            dir: self.dir.join(&check.name),
            chapter: self.number.clone(),
            check: check.name.clone(),
            seed: self.seed,
            broker: self.broker.clone(),
            pressure: self.pressure.clone(),
            hole_for: self.hole_for,
        }
    }
}

/// Runs one check in a sandbox of its own, for as long as is `left` of the `longest` time of a run.
async fn one(plan: LabConfig, check: Check, left: Duration, longest: Duration) -> Verdict {
    let trace = plan.dir.join("journal.jsonl");
    let began = Instant::now();
    let opened = match left.is_zero() {
        true => Err(anyhow::anyhow!(
            "not run: the checks before it took {} s. Mend what failed there first",
            longest.as_secs()
        )),
        false => Lab::open(plan).await,
    };
    let outcome = match opened {
        Ok(lab) => {
            // In a task of its own: one that panics leaves the others their verdicts.
            let mut task = JoinSet::new();
            task.spawn_local((check.body)(lab.clone()));
            let outcome = match lab.since_start().limit(left, task.join_next()).await {
                Some(Some(Ok(outcome))) => blame(&lab, outcome),
                Some(Some(Err(error))) => Err(Stop::Unknown(format!("the lab's mistake: {error}"))),
                Some(None) => Err(Stop::Unknown("the check was not run".to_owned())),
                None => blame(&lab, Err(lab.overdue(longest).into())),
            };
            lab.close(check.says, picture::ending(&outcome)).await;
            picture::draw(&lab).await;
            outcome
        }
        Err(error) => Err(Stop::from(error)),
    };
    Verdict {
        name: check.name,
        says: check.says,
        hole: check.hole,
        optional: check.optional,
        seconds: began.elapsed().as_secs_f64(),
        outcome,
        trace,
    }
}

/// An open hole or a dead service explains any other failure, and so does a busy machine.
fn blame(lab: &Lab, outcome: Outcome) -> Outcome {
    match outcome {
        Err(Stop::Failed(failure)) => {
            match lab.all_well() {
                // The check knows the hole.
                Err(Stop::Failed(ended)) if ended.expected == failure.expected => {}
                other => other?,
            }
            let failure = lab.with_last_errors(*failure);
            lab.since_start().judge(Err(failure.into()))
        }
        other => other,
    }
}
