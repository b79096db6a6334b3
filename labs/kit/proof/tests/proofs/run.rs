//! A run of proofs: one thread builds, some threads prove what is built, and the main thread shows the
//! progress.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::Result;

use super::history::History;
use super::plan::{A_BUILD, Plan, Product, Proof};
use super::screen::Screen;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// How often to show the status again when nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// How long cargo takes at most when nothing has changed.
const UNCHANGED: Duration = Duration::from_secs(3);

/// How many attempts may refute a proof that is proved at the second attempt.
const DOUBTFUL_AT_MOST: usize = 6;

/// How many attempts may have no result, which is the machine's fault; and how many proofs may need a
/// third attempt for that.
const UNKNOWN_AT_MOST: usize = 3;
const THIRD_AT_MOST: usize = 3;

/// The result of one attempt at a proof.
pub enum Verdict {
    /// It holds.
    Proved,
    /// It does not hold, for this reason.
    Refuted(String),
    /// No result, for this reason: trouble of the lab itself, or a busy machine.
    Unknown(String),
}

/// What the threads share.
struct Run {
    now: Mutex<Now>,
    changed: Condvar,
    total: usize,
    products: usize,
    /// How much load at once.
    at_once: usize,
}

struct Now {
    waiting: VecDeque<Waiting>,
    /// For each product: not built yet, built, or why it cannot be built.
    built: Vec<Option<Result<(), String>>>,
    /// The names of the products that are not built yet. `since` is when the first one began.
    to_build: VecDeque<String>,
    since: Instant,
    running: Vec<Running>,
    passed: usize,
    /// Each with the first line of the reason.
    failed: Vec<(String, String)>,
    /// Proved at the second attempt, with why not at the first.
    second: Vec<(String, String)>,
    /// How many were refuted at the first attempt.
    doubtful: usize,
    /// How many had no result at the second attempt.
    third: usize,
    history: History,
    screen: Screen,
}

struct Running {
    name: String,
    load: usize,
    since: Instant,
}

struct Waiting {
    proof: Proof,
    /// Why the first attempt did not prove it.
    first: Option<String>,
    /// How many attempts had no result.
    unknown: usize,
}

/// Builds and proves everything; the exit code is as of libtest.
pub fn run(mut plan: Plan, history: History, at_once: usize) -> ExitCode {
    let begun = Instant::now();
    history.sort(&mut plan.proofs);
    let order = order(&plan.proofs);
    let run = Run {
        changed: Condvar::new(),
        total: plan.proofs.len(),
        products: order.len(),
        at_once,
        now: Mutex::new(Now {
            built: plan.products.iter().map(|_| None).collect(),
            to_build: order
                .iter()
                .map(|&place| plan.products[place].name.clone())
                .collect(),
            since: begun,
            running: Vec::new(),
            passed: 0,
            failed: Vec::new(),
            second: Vec::new(),
            doubtful: 0,
            third: 0,
            history,
            screen: Screen::new(),
            waiting: plan
                .proofs
                .into_iter()
                .map(|proof| Waiting {
                    proof,
                    first: None,
                    unknown: 0,
                })
                .collect(),
        }),
    };
    let plural = if run.total == 1 { "" } else { "s" };
    let title = format!("\nrunning {} test{plural}", run.total);
    run.now().screen.print(&title);
    std::thread::scope(|scope| {
        scope.spawn(|| run.build(&plan.products, &order));
        for _ in 0..at_once {
            scope.spawn(|| run.prove());
        }
        run.show();
    });
    run.now().sum_up(plan.left_out, begun.elapsed())
}

/// The products that these proofs need, each once, in the order of the proofs.
fn order(proofs: &[Proof]) -> Vec<usize> {
    let mut order = Vec::new();
    for product in proofs.iter().flat_map(|proof| &proof.needs) {
        if !order.contains(product) {
            order.push(*product);
        }
    }
    order
}

impl Run {
    fn now(&self) -> MutexGuard<'_, Now> {
        // A thread that panics leaves the data consistent.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds one product after the other. A chapter's mutants are one crate, which keeps one core busy;
    /// the proofs use the other.
    fn build(&self, products: &[Product], order: &[usize]) {
        for &place in order {
            let product = &products[place];
            self.now().since = Instant::now();
            let built = (product.build)();
            let mut now = self.now();
            let built = built.map_err(|error| {
                now.screen.print(&format!("{error:#}"));
                format!(
                    "{} cannot be built; see cargo's messages above",
                    product.name
                )
            });
            now.is_built(place, built);
            self.changed.notify_all();
        }
    }

    /// Proves what is ready, until no proof waits.
    fn prove(&self) {
        while let Some(waiting) = self.next() {
            let name = &waiting.proof.name;
            let since = Instant::now();
            let verdict = match self.missing(&waiting.proof) {
                Some(why) => Verdict::Refuted(why),
                None => (waiting.proof.attempt)()
                    .unwrap_or_else(|error| Verdict::Unknown(format!("{error:#}"))),
            };
            let mut now = self.now();
            now.running.retain(|running| running.name != *name);
            let took = since.elapsed();
            now.doubtful += usize::from(matches!(verdict, Verdict::Refuted(_)));
            let unknown = waiting.unknown + usize::from(matches!(verdict, Verdict::Unknown(_)));
            let again = match (&verdict, &waiting.first) {
                // The compiler and two other proofs ran beside it; at the end it is alone.
                (_, None) => true,
                (Verdict::Unknown(_), Some(_)) => unknown < UNKNOWN_AT_MOST,
                (Verdict::Proved | Verdict::Refuted(_), Some(_)) => false,
            };
            now.third += usize::from(again && waiting.first.is_some());
            match verdict {
                Verdict::Proved => now.passed(name, took, waiting.first),
                Verdict::Refuted(why) | Verdict::Unknown(why) if again => {
                    now.waiting.push_back(Waiting {
                        first: Some(why),
                        unknown,
                        ..waiting
                    });
                }
                Verdict::Refuted(why) | Verdict::Unknown(why) => now.failed(name, took, &why),
            }
            self.changed.notify_all();
        }
    }

    /// Waits for a proof that is ready, and returns it; `None` when no proof is left.
    fn next(&self) -> Option<Waiting> {
        let mut now = self.now();
        loop {
            if now.waiting.is_empty() {
                return None;
            }
            // One that has no room yet holds up those after it: otherwise it would wait for the last.
            let ready = now.waiting.iter().position(|waiting| now.is_ready(waiting));
            let ready =
                ready.filter(|&place| now.has_room(&now.waiting[place].proof, self.at_once));
            if let Some(waiting) = ready.and_then(|place| now.waiting.remove(place)) {
                let running = Running {
                    name: waiting.proof.name.clone(),
                    load: waiting.proof.load,
                    since: Instant::now(),
                };
                now.running.push(running);
                return Some(waiting);
            }
            now = self
                .changed
                .wait(now)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Why a proof cannot run: a product that it needs was not built.
    fn missing(&self, proof: &Proof) -> Option<String> {
        let now = self.now();
        let failed = |&place: &usize| now.built[place].as_ref()?.as_ref().err().cloned();
        proof.needs.iter().find_map(failed)
    }

    /// Shows the status until every proof is done.
    fn show(&self) {
        let mut now = self.now();
        while now.done() < self.total {
            let status = now.status(self);
            now.screen.status(status);
            now = match self.changed.wait_timeout(now, TICK) {
                Ok((now, _)) => now,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Now {
    /// Whether a proof can run: everything that it needs is built. A second attempt runs at the very end
    /// and alone, when this run loads the machine least.
    fn is_ready(&self, waiting: &Waiting) -> bool {
        match waiting.first {
            Some(_) => {
                self.running.is_empty() && self.waiting.iter().all(|other| other.first.is_some())
            }
            None => {
                let mut needs = waiting.proof.needs.iter();
                needs.all(|&place| self.built[place].is_some())
            }
        }
    }

    /// Whether the machine can run this proof beside the others.
    fn has_room(&self, proof: &Proof, at_once: usize) -> bool {
        let mut loads: usize = self.running.iter().map(|running| running.load).sum();
        loads += match self.to_build.is_empty() {
            true => 0,
            false => A_BUILD,
        };
        self.running.is_empty() || loads + proof.load <= at_once
    }

    fn done(&self) -> usize {
        self.passed + self.failed.len()
    }

    /// `first` says why it was not proved at the first attempt.
    fn passed(&mut self, name: &str, took: Duration, first: Option<String>) {
        self.passed += 1;
        self.history.record(name, took, false);
        self.screen
            .print(&format!("test {name} ... {GOOD}ok{GOOD:#}"));
        if let Some(why) = first {
            self.screen
                .print(&format!("(not at the first attempt: {why})"));
            self.second.push(named(name, &why));
        }
    }

    fn failed(&mut self, name: &str, took: Duration, why: &str) {
        self.failed.push(named(name, why));
        self.history.record(name, took, true);
        self.screen
            .print(&format!("test {name} ... {BAD}FAILED{BAD:#}\n{why}"));
    }

    fn is_built(&mut self, place: usize, built: Result<(), String>) {
        self.built[place] = Some(built);
        let took = self.since.elapsed();
        if let Some(name) = self.to_build.pop_front()
            && took > UNCHANGED
        {
            self.history.record(&name, took, false);
        }
    }

    fn status(&self, run: &Run) -> String {
        let mut status = format!("  {} of {} proved", self.passed, run.total);
        if !self.failed.is_empty() {
            status += &format!(", {} failed", self.failed.len());
        }
        status += &format!(", {} left", time(self.left(run.at_once)));
        if let Some(building) = self.to_build.front() {
            let place = run.products - self.to_build.len() + 1;
            status += &format!("; building {building} ({place} of {})", run.products);
        }
        status
    }

    /// The estimated time left. Building and proving run in parallel.
    fn left(&self, at_once: usize) -> Duration {
        let expected = |name: &String| self.history.expected(name);
        let of = |load: usize, left: Duration| left * u32::try_from(load).unwrap_or(u32::MAX);
        let building: Duration = self.to_build.iter().map(expected).sum();
        let building = match self.to_build.is_empty() {
            true => Duration::ZERO,
            false => building.saturating_sub(self.since.elapsed()),
        };
        let running = self.running.iter().map(|run| {
            of(
                run.load,
                expected(&run.name).saturating_sub(run.since.elapsed()),
            )
        });
        let waiting = self
            .waiting
            .iter()
            .map(|waiting| of(waiting.proof.load, expected(&waiting.proof.name)));
        let proving: Duration = running.chain(waiting).sum();
        building.max(proving / u32::try_from(at_once).unwrap_or(u32::MAX).max(1))
    }

    fn sum_up(&mut self, left_out: usize, took: Duration) -> ExitCode {
        let mut lines = String::new();
        let lists = [
            ("proved at the second attempt, alone", &self.second),
            ("failures", &self.failed),
        ];
        for (title, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            lines += &format!("\n{title}:\n");
            for (name, why) in *list {
                lines += &format!("    {name}: {why}\n");
            }
        }
        let (passed, failed) = (self.passed, self.failed.len());
        let too_often = self.doubtful > DOUBTFUL_AT_MOST || self.third > THIRD_AT_MOST;
        let (style, word) = match failed == 0 && !too_often {
            true => (GOOD, "ok"),
            false => (BAD, "FAILED"),
        };
        if too_often {
            lines += "\nToo many proofs do not hold at the first attempt.\n";
        }
        lines += &format!(
            "\ntest result: {style}{word}{style:#}. {passed} passed; {failed} failed; 0 ignored; \
             0 measured; {left_out} filtered out; finished in {:.2}s\n",
            took.as_secs_f64()
        );
        self.screen.end(&lines);
        match word {
            "ok" => ExitCode::SUCCESS,
            _ => ExitCode::from(101),
        }
    }
}

/// A proof and the first line of what was said of it.
fn named(name: &str, why: &str) -> (String, String) {
    (
        name.to_owned(),
        why.lines().next().unwrap_or_default().to_owned(),
    )
}

fn time(left: Duration) -> String {
    match left.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
