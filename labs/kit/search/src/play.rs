//! One run of a scenario: its parts started, its operations done, and a fault or none.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use check::wiretap::{Event, Frame, HttpRelay, Method};
use check::{Exit, Failure, Lab, Outcome, Seen, Service, Stop, fail};
use process::Change;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::fault::{Fault, Kind, Step, counted};
use crate::judge;
use crate::scenario::{Answer, Operation, Part, Promised, Ready, Scenario};
use crate::strike::{Strike, Trigger};

/// How long a client waits before it tries again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long a client tries.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a run has shown to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// An operation was answered with success, and its effect is not there.
    Lost,
    /// An effect is there twice.
    Duplicated,
    /// An effect is there that nobody asked for.
    Unexpected,
    /// It did not come to rest.
    Stuck,
    /// A service ended by itself.
    Died,
    /// A success was answered before the broker had confirmed it.
    Lied,
}

impl Trouble {
    /// As a report says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Unexpected => "unexpected",
            Self::Stuck => "stuck",
            Self::Died => "died",
            Self::Lied => "lied",
        }
    }
}

/// What a clean run has passed, and how it ended.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// How often each step came, from the first operation on.
    pub passed: BTreeMap<(String, &'static str), (Step, usize)>,
    /// How many consumers each queue has at the end; those of reply queues are under one name.
    pub consumers: BTreeMap<String, u64>,
}

/// A promise that a service has made.
#[derive(Debug, Clone)]
pub struct Promise {
    /// What names it in a table.
    pub mark: String,
    /// When its answer came, in seconds since the run began.
    pub answered: f64,
    /// Its kind: not every part wants it.
    pub kind: String,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The chapter's scenario.
    pub scenario: Scenario,
    /// The faults.
    pub faults: Vec<Fault>,
    /// How many of its operations.
    pub operations: usize,
    /// The parts that are left out.
    pub without: Vec<&'static str>,
    /// How the clean run ended; `None` for the clean run.
    pub baseline: Option<Rc<Baseline>>,
}

/// A run under way. Clones are the same run.
#[derive(Debug, Clone)]
pub struct Play(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    lab: Lab,
    plan: Plan,
    parts: Vec<(Part, Service, Option<HttpRelay>)>,
    notes: Rc<Notes>,
    operations: Vec<Operation>,
}

/// What a run leaves behind.
#[derive(Debug, Default)]
pub struct Notes {
    /// The faults whose points were reached.
    pub reached: RefCell<Vec<(Fault, f64)>>,
    /// How many faults are over.
    pub over: Cell<usize>,
    /// What was wrong, where the run found it itself.
    pub trouble: Cell<Option<Trouble>>,
    /// The mark that it was wrong of.
    pub mark: RefCell<Option<String>>,
    /// What was promised.
    pub promised: RefCell<Vec<Promise>>,
    /// The tries that were answered with anything but success.
    pub refused: Cell<usize>,
    /// The connections of commands that promised nothing, and published perhaps.
    pub unpromised: RefCell<Vec<(String, RangeInclusive<u32>)>>,
    /// For a clean run.
    pub baseline: RefCell<Baseline>,
}

impl Play {
    /// The sandbox of this run.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.0.lab
    }

    /// A part's service.
    ///
    /// # Errors
    /// Unknown when the scenario has no part of that name.
    pub fn service(&self, name: &str) -> Outcome<Service> {
        Ok(self.part(name)?.1.clone())
    }

    /// Runs a command to its end; `None` when it was killed.
    ///
    /// # Errors
    /// A failure when it does not end; unknown when it cannot be started.
    pub async fn command(&self, name: &str) -> Outcome<Option<Exit>> {
        let exit = self.service(name)?.run().await?;
        Ok(match exit {
            Exit::Code(_) => Some(exit),
            _ => None,
        })
    }

    /// Runs a command that publishes, to its end. With exit code 0 it promises each message, under
    /// the first id that it was published with.
    ///
    /// # Errors
    /// As [`Play::command`].
    pub async fn publishes(&self, name: &str) -> Outcome<Answer> {
        let before = self.connections(name);
        let exit = match self.command(name).await {
            // Another service may have died while the command ran.
            Err(Stop::Failed(failure))
                if self.lab().all_well().is_ok() && self.service(name)?.exit().is_none() =>
            {
                return Err(self.found(Trouble::Stuck, None, *failure));
            }
            exit => exit?,
        };
        let connections = before + 1..=self.connections(name);
        if exit != Some(Exit::Code(0)) {
            let refused = (name.to_owned(), connections);
            self.0.notes.unpromised.borrow_mut().push(refused);
            let ended = exit.map_or("it was killed".to_owned(), |exit| exit.to_string());
            return Ok(Answer::Refused(ended));
        }
        let (mut known, mut promised) = (BTreeSet::new(), Vec::new());
        for frame in self.published(name, &connections) {
            let kind = frame.args["routing_key"].as_str().unwrap_or_default();
            let body = frame.message.as_ref().map(|message| message.body.clone());
            if known.insert((kind.to_owned(), body)) {
                let mark = frame.message_id().unwrap_or("?").to_owned();
                let kind = kind.to_owned();
                promised.push(Promised { mark, kind });
            }
        }
        Ok(Answer::Promised(promised))
    }

    /// What it has published on these of its connections.
    fn published(&self, name: &str, connections: &RangeInclusive<u32>) -> Vec<Frame> {
        let mut frames = self.lab().journal().methods(name, Method::BasicPublish);
        frames.retain(|frame| connections.contains(&frame.connection));
        frames
    }

    /// The number of its last connection.
    fn connections(&self, name: &str) -> u32 {
        self.lab().journal().read(|entries| {
            let numbers = entries.iter().filter_map(|entry| match &entry.event {
                Event::Connection {
                    service,
                    connection,
                    ..
                } if service == name => Some(*connection),
                _ => None,
            });
            numbers.max().unwrap_or(0)
        })
    }

    /// Whether a try that promised nothing has published a message with this id: it may have its
    /// effect, or not.
    pub(crate) fn tried(&self, id: &str) -> bool {
        let unpromised = self.0.notes.unpromised.borrow();
        unpromised.iter().any(|(name, connections)| {
            let published = self.published(name, connections);
            published.iter().any(|frame| frame.message_id() == Some(id))
        })
    }

    fn part(&self, name: &str) -> Outcome<&(Part, Service, Option<HttpRelay>)> {
        let mut parts = self.0.parts.iter();
        let part = parts.find(|(part, ..)| part.name == name);
        Ok(part.with_context(|| format!("the scenario has no service `{name}`"))?)
    }

    pub(crate) fn relay(&self, name: &str) -> Outcome<&HttpRelay> {
        let relay = self.part(name)?.2.as_ref();
        Ok(relay.with_context(|| format!("`{name}` calls nobody over HTTP"))?)
    }

    pub(crate) fn is_command(&self, name: &str) -> bool {
        let part = self.part(name);
        part.is_ok_and(|(part, ..)| part.ready == Ready::Command)
    }

    /// Whether others write its database, too.
    pub(crate) fn shares(&self, name: &str) -> bool {
        self.part(name).is_ok_and(|(part, ..)| part.shares)
    }

    /// Whether it has a link of its own, to the broker or to another service.
    pub(crate) fn has_link(&self, name: &str) -> bool {
        self.lab().broker().is_some() || self.relay(name).is_ok()
    }

    /// Cuts all connections of its link.
    pub(crate) fn cut(&self, name: &str) -> Outcome {
        match self.lab().broker() {
            Some(_) => self.service(name)?.tap().cut(),
            None => self.relay(name)?.cut(),
        }
        Ok(())
    }

    /// How many of its connections have ended.
    pub(crate) fn lost(&self, name: &str) -> usize {
        self.lab().journal().read(|entries| {
            let ends = entries.iter().filter(|entry| match &entry.event {
                Event::Connection { service, what, .. } => service == name && what.is_end(),
                _ => false,
            });
            ends.count()
        })
    }

    /// How often a part was killed: what it had in memory only was lost then.
    #[must_use]
    pub fn kills(&self, name: &str) -> usize {
        self.lab().journal().read(|entries| {
            let kills = entries.iter().filter(|entry| match &entry.event {
                Event::Service { service, what } => service == name && *what == Change::Killed,
                _ => false,
            });
            kills.count()
        })
    }

    pub(crate) fn reached(&self, fault: &Fault) {
        let t = self.lab().journal().elapsed();
        self.lab().journal().note(format!("fault: {fault}"));
        self.0.notes.reached.borrow_mut().push((fault.clone(), t));
    }

    /// Whether a fault has begun, and is not over.
    pub(crate) fn under_way(&self) -> bool {
        let notes = self.notes();
        notes.reached.borrow().len() > notes.over.get()
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.0.notes
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Part, &Service)> {
        self.0
            .parts
            .iter()
            .map(|(part, service, _)| (part, service))
    }

    /// The ids of all operations.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.operations.iter().map(|one| one.id.as_str())
    }

    /// What was found wrong, of this mark: an operation returns it for an answer that no later try
    /// can make good.
    #[must_use]
    pub fn found(&self, trouble: Trouble, mark: Option<&str>, failure: Failure) -> Stop {
        let notes = &self.0.notes;
        notes.trouble.set(Some(trouble));
        notes.mark.replace(mark.map(ToOwned::to_owned));
        failure.into()
    }

    /// Starts a part, and waits until it is ready.
    pub(crate) async fn start(&self, name: &str) -> Outcome {
        let (part, service, _) = self.part(name)?;
        let consuming = || {
            let journal = self.lab().journal();
            journal.methods(name, Method::BasicConsumeOk).len()
        };
        let before = consuming();
        match part.ready {
            Ready::Command => return Ok(()),
            Ready::Answers => return service.start().await,
            Ready::Consumes => service.start().await?,
            Ready::OnlyConsumes => service.launch().await?,
        }
        let expected = format!("{name} consumes from a queue");
        let why = "a service that does not consume does no work";
        let consumes = self.lab().eventually(&expected, why, async || {
            Ok(Seen::when(consuming() > before, || {
                "it does not".to_owned()
            }))
        });
        consumes.await
    }

    /// Opens the parts, and starts them.
    async fn open(lab: Lab, plan: Plan, notes: Rc<Notes>) -> Outcome<Self> {
        if let Some(file) = plan.scenario.topology {
            lab.topology(file).await?;
        }
        let mut parts: Vec<(Part, Service, Option<HttpRelay>)> = Vec::new();
        let used = plan.scenario.parts.iter();
        for part in used.filter(|part| !plan.without.contains(&part.name)) {
            let mut service = lab.instance(part.name, &part.arguments).await?;
            if let Some(rights) = part.rights {
                service = service.logs_in(&lab.user(rights).await?, lab.vhost());
            }
            service = (part.prepare)(&lab, service);
            // The broker gives up a connection without a heartbeat after 2 to 3 s.
            let freezes = plan.faults.iter().any(|fault| fault.kind == Kind::Freeze);
            if let Some(url) = service.variable("AMQP_URL").filter(|_| freezes) {
                service = service.with("AMQP_URL", format!("{url}?heartbeat=1"));
            }
            parts.push((part.clone(), service, None));
        }
        for index in 0..parts.len() {
            let Some((server, variable)) = parts[index].0.calls else {
                continue;
            };
            let port = parts.iter().find(|(part, ..)| part.name == server);
            let port = port
                .with_context(|| format!("no `{server}` to call"))?
                .1
                .port();
            let relay = HttpRelay::open(parts[index].0.name, port, lab.journal()).await?;
            let service = parts[index].1.clone().with(variable, relay.url());
            parts[index] = (parts[index].0.clone(), service, Some(relay));
        }
        let operations = (1..=plan.operations).map(|number| Operation {
            number,
            id: id(lab.journal().head().seed, number),
        });
        let play = Self(Rc::new(Inner {
            operations: operations.collect(),
            lab,
            plan,
            parts,
            notes,
        }));
        let mut starting = JoinSet::new();
        for (part, ..) in &play.0.parts {
            let (play, name) = (play.clone(), part.name);
            starting.spawn_local(async move { play.start(name).await });
        }
        while let Some(started) = starting.join_next().await {
            joined(started)?;
        }
        Ok(play)
    }

    /// Does all operations, so many beside each other as the scenario says.
    async fn operate(&self) -> Outcome {
        for some in self
            .0
            .operations
            .chunks(self.0.plan.scenario.at_once.max(1))
        {
            let mut all = JoinSet::new();
            for operation in some {
                let (play, operation) = (self.clone(), operation.clone());
                all.spawn_local(async move { play.until_promised(&operation).await });
            }
            while let Some(done) = all.join_next().await {
                joined(done)?;
            }
        }
        Ok(())
    }

    /// A client tries until it is told a success.
    async fn until_promised(&self, operation: &Operation) -> Outcome {
        let (lab, span) = (self.lab(), self.lab().span());
        loop {
            match (self.0.plan.scenario.operate)(self.clone(), operation.clone()).await? {
                Answer::Promised(all) => {
                    let answered = lab.journal().elapsed();
                    let promises = all.into_iter().map(|Promised { mark, kind }| Promise {
                        mark,
                        answered,
                        kind,
                    });
                    self.0.notes.promised.borrow_mut().extend(promises);
                    return Ok(());
                }
                Answer::Refused(why) => {
                    self.0.notes.refused.set(self.0.notes.refused.get() + 1);
                    lab.all_well()?;
                    if span.exceeds(PATIENCE) {
                        let failure = fail(
                            format!("operation {} succeeds in the end", operation.number),
                            format!("{why}, for {} s", PATIENCE.as_secs()),
                        )
                        .because("a fault passes, and a client that tries again must be served");
                        let mark = Some(operation.id.as_str());
                        return span.judge(Err(self.found(Trouble::Stuck, mark, failure)));
                    }
                }
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

/// Runs a plan in a sandbox. What it finds is in `notes`, too.
///
/// # Errors
/// A failure of the services; unknown for trouble of the lab itself.
pub async fn play(lab: Lab, plan: Plan, notes: Rc<Notes>) -> Outcome {
    if plan.faults.iter().any(Fault::hits_broker) {
        lab.own_broker().await?;
    }
    let play = Play::open(lab, plan, notes).await?;
    let since = play.lab().journal().read(<[_]>::len);
    let (mut strikes, mut triggers) = (JoinSet::new(), Vec::new());
    for fault in &play.plan().faults {
        let (strike, play) = (Strike::arm(&play, fault).await?, play.clone());
        triggers.push(strike.trigger());
        strikes.spawn_local(async move { strike.strikes(&play).await });
    }
    let mut baseline = play.work(&mut strikes, &triggers).await?;
    strikes.shutdown().await;
    judge::no_lie(&play)?;
    judge::parked(&play).await?;
    judge::stops(&play).await?;
    baseline.passed = passed(&play, since);
    play.notes().baseline.replace(baseline);
    Ok(())
}

impl Play {
    /// Does the operations, waits until all is at rest, and until each fault that has begun is over.
    /// After that none begins: the services are asked to stop, and one that is killed then starts again.
    async fn work(
        &self,
        strikes: &mut JoinSet<Outcome>,
        triggers: &[Trigger],
    ) -> Outcome<Baseline> {
        let over = |done: Result<Outcome, JoinError>| {
            self.notes().over.set(self.notes().over.get() + 1);
            joined(done)
        };
        let work = async {
            self.operate().await?;
            judge::at_rest(self).await
        };
        tokio::pin!(work);
        let mut baseline = loop {
            tokio::select! {
                rest = &mut work => break rest?,
                Some(done) = strikes.join_next() => over(done)?,
            }
        };
        // A fault whose point is not reached waits for ever.
        while self.under_way() {
            if let Some(done) = strikes.join_next().await {
                over(done)?;
            }
            baseline = judge::at_rest(self).await?;
        }
        // The relay, or the watch of a database, may have begun one that its task does not know of yet.
        let begun = triggers.iter().filter(|trigger| trigger.disarm()).count();
        while self.notes().over.get() < begun {
            if let Some(done) = strikes.join_next().await {
                over(done)?;
            }
            baseline = judge::at_rest(self).await?;
        }
        Ok(baseline)
    }
}

fn joined(done: Result<Outcome, JoinError>) -> Outcome {
    done.map_err(|error| anyhow!("the lab's mistake: {error}"))?
}

/// The points that the run has passed after its first `since` entries.
fn passed(play: &Play, since: usize) -> BTreeMap<(String, &'static str), (Step, usize)> {
    let mut passed = BTreeMap::new();
    let mut count = |at: &str, step: Step, more: usize| {
        let counted = passed.entry(counted(at, step)).or_insert((step, 0));
        counted.1 += more;
    };
    play.lab().journal().read(|entries| {
        for entry in &entries[since..] {
            match &entry.event {
                Event::Amqp(frame) => {
                    if let Some(step) = Step::of(frame.from, frame.method) {
                        count(&frame.service, step, 1);
                    }
                }
                Event::Http { service, line, .. } => count(service, Step::Http(line.from()), 1),
                _ => {}
            }
        }
    });
    for (part, service) in play.parts() {
        if let Some(rows) = part.table.and_then(|table| service.rows(table).ok()) {
            let own = rows
                .iter()
                .filter(|row| !part.shares || row.value == part.name);
            count(part.name, Step::Commit, own.count());
        }
    }
    passed.retain(|_, (_, times)| *times > 0);
    passed
}

/// The id of an operation: the same in each run with the same seed, so that runs can be compared.
fn id(seed: u64, number: usize) -> String {
    let mut random = StdRng::seed_from_u64(seed);
    let skipped = (1..number).map(|_| random.random::<[u64; 2]>());
    skipped.for_each(drop);
    let [a, b]: [u64; 2] = random.random();
    // Of the form of a random UUID (RFC 9562).
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
