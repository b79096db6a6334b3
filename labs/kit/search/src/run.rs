//! One run of a scenario: its roles started, its operations done, and a fault or none.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use check::wiretap::{Event, HttpRelay};
use check::{Exit, Failure, Lab, Outcome, Service, Stop, fail};
use process::Change;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::fault::{Fault, Step, counted};
use crate::injection::{Injection, Trigger};
use crate::judge;
use crate::plan::{Baseline, Plan, Promise, Record, Trouble};
use crate::scenario::{Answer, Operation, Promised, Ready, Role};

/// How long a client waits before it tries again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long a client tries.
const PATIENCE: Duration = Duration::from_secs(15);

/// A run under way. Clones are the same run.
#[derive(Debug, Clone)]
pub struct Run(pub(crate) Rc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) lab: Lab,
    pub(crate) plan: Plan,
    pub(crate) roles: Vec<(Role, Service, Option<HttpRelay>)>,
    pub(crate) record: Rc<Record>,
    pub(crate) operations: Vec<Operation>,
}

impl Run {
    /// The sandbox of this run.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.0.lab
    }

    /// A role's service.
    ///
    /// # Errors
    /// Unknown when the scenario has no role of that name.
    pub fn service(&self, name: &str) -> Outcome<Service> {
        Ok(self.role(name)?.1.clone())
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

    pub(crate) fn role(&self, name: &str) -> Outcome<&(Role, Service, Option<HttpRelay>)> {
        let mut roles = self.0.roles.iter();
        let role = roles.find(|(role, ..)| role.name == name);
        Ok(role.with_context(|| format!("the scenario has no service `{name}`"))?)
    }

    pub(crate) fn relay(&self, name: &str) -> Outcome<&HttpRelay> {
        let relay = self.role(name)?.2.as_ref();
        Ok(relay.with_context(|| format!("`{name}` calls nobody over HTTP"))?)
    }

    pub(crate) fn is_command(&self, name: &str) -> bool {
        let role = self.role(name);
        role.is_ok_and(|(role, ..)| role.ready == Ready::Command)
    }

    /// Whether others write its database, too.
    pub(crate) fn shares(&self, name: &str) -> bool {
        self.role(name).is_ok_and(|(role, ..)| role.shares)
    }

    /// Whether it has a link of its own, to the broker or to another service.
    pub(crate) fn has_link(&self, name: &str) -> bool {
        self.lab().broker().is_some() || self.relay(name).is_ok()
    }

    /// Those who call it over HTTP.
    pub(crate) fn callers(&self, server: &str) -> impl Iterator<Item = &Service> {
        let calls = move |role: &Role| role.calls.is_some_and(|(called, _)| called == server);
        let callers = self.roles().filter(move |(role, _)| calls(role));
        callers.map(|(_, service)| service)
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

    /// How often a role was killed: what it had in memory only was lost then.
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
        self.0.record.reached.borrow_mut().push((fault.clone(), t));
    }

    /// Whether a fault has begun, and is not over.
    pub(crate) fn under_way(&self) -> bool {
        let record = self.record();
        record.reached.borrow().len() > record.over.get()
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    pub(crate) fn record(&self) -> &Record {
        &self.0.record
    }

    pub(crate) fn roles(&self) -> impl Iterator<Item = (&Role, &Service)> {
        self.0
            .roles
            .iter()
            .map(|(role, service, _)| (role, service))
    }

    /// The ids of all operations.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.operations.iter().map(|one| one.id.as_str())
    }

    /// What was found wrong, of this mark: an operation returns it for an answer that no later try
    /// can make good.
    #[must_use]
    pub fn found(&self, trouble: Trouble, mark: Option<&str>, failure: Failure) -> Stop {
        let record = &self.0.record;
        record.trouble.set(Some(trouble));
        record.mark.replace(mark.map(ToOwned::to_owned));
        failure.into()
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
                let (run, operation) = (self.clone(), operation.clone());
                all.spawn_local(async move { run.until_promised(&operation).await });
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
        let patience = PATIENCE + self.plan().slowness();
        loop {
            match (self.0.plan.scenario.operate)(self.clone(), operation.clone()).await? {
                Answer::Promised(all) => {
                    let answered = lab.journal().elapsed();
                    let promises = all.into_iter().map(|Promised { mark, kind }| Promise {
                        mark,
                        answered,
                        kind,
                    });
                    self.0.record.promised.borrow_mut().extend(promises);
                    return Ok(());
                }
                Answer::Refused(why) => {
                    self.0.record.refused.set(self.0.record.refused.get() + 1);
                    lab.all_well()?;
                    if span.exceeds(patience) {
                        let failure = fail(
                            format!("operation {} succeeds in the end", operation.number),
                            format!("{why}, for {} s", patience.as_secs()),
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

/// Runs a plan in a sandbox. What it finds is in `record`, too.
///
/// # Errors
/// A failure of the services; unknown for trouble of the lab itself.
pub async fn run(lab: Lab, plan: Plan, record: Rc<Record>) -> Outcome {
    if plan.faults.iter().any(Fault::hits_broker) {
        lab.own_broker().await?;
    }
    let run = Run::open(lab, plan, record).await?;
    let since = run.lab().journal().read(<[_]>::len);
    let (mut injections, mut triggers) = (JoinSet::new(), Vec::new());
    for fault in &run.plan().faults {
        let (injection, run) = (Injection::arm(&run, fault).await?, run.clone());
        triggers.push(injection.trigger());
        injections.spawn_local(async move { injection.injections(&run).await });
    }
    let mut baseline = run.work(&mut injections, &triggers).await?;
    injections.shutdown().await;
    judge::no_lie(&run)?;
    judge::parked(&run).await?;
    judge::stops(&run).await?;
    baseline.passed = passed(&run, since);
    run.record().baseline.replace(baseline);
    Ok(())
}

impl Run {
    /// Does the operations, waits until all is at rest, and until each fault that has begun is over.
    /// After that none begins: the services are asked to stop, and one that is killed then starts again.
    async fn work(
        &self,
        injections: &mut JoinSet<Outcome>,
        triggers: &[Trigger],
    ) -> Outcome<Baseline> {
        let over = |done: Result<Outcome, JoinError>| {
            self.record().over.set(self.record().over.get() + 1);
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
                Some(done) = injections.join_next() => over(done)?,
            }
        };
        // A fault whose point is not reached waits for ever.
        while self.under_way() {
            if let Some(done) = injections.join_next().await {
                over(done)?;
            }
            baseline = judge::at_rest(self).await?;
        }
        // The relay, or the watch of a database, may have begun one that its task does not know of yet.
        let begun = triggers.iter().filter(|trigger| trigger.disarm()).count();
        while self.record().over.get() < begun {
            if let Some(done) = injections.join_next().await {
                over(done)?;
            }
            baseline = judge::at_rest(self).await?;
        }
        Ok(baseline)
    }
}

/// What a task of this run ended with.
pub(crate) fn joined(done: Result<Outcome, JoinError>) -> Outcome {
    done.map_err(|error| anyhow!("the lab's mistake: {error}"))?
}

/// The points that the run has passed after its first `since` entries.
fn passed(run: &Run, since: usize) -> BTreeMap<(String, &'static str), (Step, usize)> {
    let mut passed = BTreeMap::new();
    let mut count = |at: &str, step: Step, more: usize| {
        let counted = passed.entry(counted(at, step)).or_insert((step, 0));
        counted.1 += more;
    };
    run.lab().journal().read(|entries| {
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
    for (role, service) in run.roles() {
        if let Some(rows) = role.table.and_then(|table| service.rows(table).ok()) {
            let own = rows
                .iter()
                .filter(|row| !role.shares || row.value == role.name);
            count(role.name, Step::Commit, own.count());
        }
    }
    passed.retain(|_, (_, times)| *times > 0);
    passed
}
