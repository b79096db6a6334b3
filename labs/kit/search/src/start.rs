//! Starts the services of a run.

use std::rc::Rc;

use anyhow::Context;
use check::wiretap::{HttpRelay, Method};
use check::{Lab, Outcome, Seen, Service};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use uuid::Builder;

use crate::fault::Kind;
use crate::plan::{Plan, Record};
use crate::run::{Inner, Run, joined};
use crate::scenario::{Operation, Ready, Role};

impl Run {
    /// Starts a role, and waits until it is ready.
    pub(crate) async fn start(&self, name: &str) -> Outcome {
        let (role, service, _) = self.role(name)?;
        let consuming = || {
            let journal = self.lab().journal();
            journal.methods(name, Method::BasicConsumeOk).len()
        };
        let before = consuming();
        match role.ready {
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

    /// Opens the roles, and starts them.
    pub(crate) async fn open(lab: Lab, plan: Plan, record: Rc<Record>) -> Outcome<Self> {
        if let Some(file) = plan.scenario.topology {
            lab.topology(file).await?;
        }
        let mut roles: Vec<(Role, Service, Option<HttpRelay>)> = Vec::new();
        let used = plan.scenario.roles.iter();
        for role in used.filter(|role| !plan.without.contains(&role.name)) {
            let mut service = lab.instance(role.name, &role.arguments).await?;
            if let Some(rights) = role.rights {
                service = service.logs_in(&lab.user(rights).await?, lab.vhost());
            }
            service = (role.prepare)(&lab, service);
            // The broker gives up a connection without a heartbeat after 2 to 3 s.
            let freezes = plan.faults.iter().any(|fault| fault.kind == Kind::Freeze);
            if let Some(url) = service.variable("AMQP_URL").filter(|_| freezes) {
                service = service.with("AMQP_URL", format!("{url}?heartbeat=1"));
            }
            roles.push((role.clone(), service, None));
        }
        for index in 0..roles.len() {
            let Some((server, variable)) = roles[index].0.calls else {
                continue;
            };
            let port = roles.iter().find(|(role, ..)| role.name == server);
            let port = port
                .with_context(|| format!("no `{server}` to call"))?
                .1
                .port();
            let relay = HttpRelay::open(roles[index].0.name, port, lab.journal())?;
            let service = roles[index].1.clone().with(variable, relay.url());
            roles[index] = (roles[index].0.clone(), service, Some(relay));
        }
        let numbered = (1..=plan.operations).zip(ids(lab.journal().head().seed));
        let operations = numbered.map(|(number, id)| Operation { number, id });
        let run = Self(Rc::new(Inner {
            operations: operations.collect(),
            lab,
            plan,
            roles,
            record,
        }));
        let mut starting = JoinSet::new();
        for (role, ..) in &run.0.roles {
            let (run, name) = (run.clone(), role.name);
            starting.spawn_local(async move { run.start(name).await });
        }
        while let Some(started) = starting.join_next().await {
            joined(started)?;
        }
        Ok(run)
    }
}

/// The ids of the operations: the same in each run with the same seed, so that runs can be compared.
fn ids(seed: u64) -> impl Iterator<Item = String> {
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let id = Builder::from_random_bytes(random.random());
        id.into_uuid().to_string()
    })
}
