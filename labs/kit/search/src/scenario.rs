//! What a chapter says of itself: its services, a few operations, and where their effects are.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use check::{Lab, Outcome, Rights, Service, Topic};

use crate::run::Run;

/// Sets up a service before it is started.
type Prepare = dyn Fn(&Lab, Service) -> Service;

/// One service of a scenario, started once under its own name.
#[derive(Clone)]
pub struct Role {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<&'static str>,
    pub(crate) ready: Ready,
    pub(crate) table: Option<&'static str>,
    pub(crate) calls: Option<(&'static str, &'static str)>,
    pub(crate) rights: Option<Rights<'static>>,
    pub(crate) prepare: Rc<Prepare>,
    pub(crate) wants: Rc<dyn Fn(&str) -> bool>,
    pub(crate) shares: bool,
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("name", &self.name).finish()
    }
}

/// When a role counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It answers `GET /health`.
    Answers,
    /// It answers, and consumes from a queue.
    Consumes,
    /// It consumes from a queue, and serves nothing.
    OnlyConsumes,
    /// It does one thing and ends; an operation starts it.
    Command,
}

impl Role {
    fn new(name: &'static str, ready: Ready) -> Self {
        Self {
            name,
            arguments: vec![name],
            ready,
            table: None,
            calls: None,
            rights: None,
            prepare: Rc::new(|_, service| service),
            wants: Rc::new(|_| true),
            shares: false,
        }
    }

    /// A role that serves HTTP.
    #[must_use]
    pub fn server(role: &'static str) -> Self {
        Self::new(role, Ready::Answers)
    }

    /// A role that consumes from a queue, and serves HTTP.
    #[must_use]
    pub fn consumer(role: &'static str) -> Self {
        Self::new(role, Ready::Consumes)
    }

    /// A role that consumes from a queue, and serves nothing.
    #[must_use]
    pub fn worker(role: &'static str) -> Self {
        Self::new(role, Ready::OnlyConsumes)
    }

    /// A role that does one thing and ends: see [`Run::command`].
    #[must_use]
    pub fn command(role: &'static str) -> Self {
        Self::new(role, Ready::Command)
    }

    /// The same under another name, with these arguments, of which the first is the role.
    #[must_use]
    pub fn named(mut self, name: &'static str, arguments: &[&'static str]) -> Self {
        self.name = name;
        self.arguments = arguments.to_vec();
        self
    }

    /// Each promised operation has one row in this table of its database.
    #[must_use]
    pub fn records(mut self, table: &'static str) -> Self {
        self.table = Some(table);
        self
    }

    /// The same for those promises only whose kind it wants.
    #[must_use]
    pub fn wants(mut self, wants: impl Fn(&str) -> bool + 'static) -> Self {
        self.wants = Rc::new(wants);
        self
    }

    /// As [`Role::records`], in a database that other roles write, too: each row's value names its role.
    #[must_use]
    pub fn shares(mut self, table: &'static str) -> Self {
        self.shares = true;
        self.records(table)
    }

    /// It calls another role over HTTP; `variable` of its environment has that role's address.
    #[must_use]
    pub fn calls(mut self, server: &'static str, variable: &'static str) -> Self {
        self.calls = Some((server, variable));
        self
    }

    /// It logs in as a user of its own with these rights: `BROKER_HOST` and its like are in its
    /// environment, instead of `AMQP_URL`.
    #[must_use]
    pub fn logs_in(mut self, rights: Rights<'static>) -> Self {
        self.rights = Some(rights);
        self
    }

    /// Sets up the service before it is started: its environment.
    #[must_use]
    pub fn with(mut self, prepare: impl Fn(&Lab, Service) -> Service + 'static) -> Self {
        self.prepare = Rc::new(prepare);
        self
    }
}

/// One operation: what a client wants to be done once.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Counts from 1.
    pub number: usize,
    /// An id of its own, the same for the same seed.
    pub id: String,
}

/// What a success promises: one row at each role that records, and wants this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promised {
    /// The row's id, or part of its value; best the id of the message.
    pub mark: String,
    /// A word of the scenario's own, or the message's routing key.
    pub kind: String,
}

/// How a service answered an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With success. These are promised from now on.
    Promised(Vec<Promised>),
    /// Not with success, for this reason: the client tries again.
    Refused(String),
}

impl Answer {
    /// `Promised` for one mark when the response is a success, else `Refused`.
    #[must_use]
    pub fn of(answer: &Result<check::Response, String>, mark: &str) -> Self {
        match answer {
            Ok(response) if response.ok() => Self::promised(mark),
            Ok(response) => Self::Refused(response.summary()),
            Err(error) => Self::Refused(error.clone()),
        }
    }

    /// A success that promises this one mark.
    #[must_use]
    pub fn promised(mark: &str) -> Self {
        Self::Promised(vec![Promised {
            mark: mark.to_owned(),
            kind: String::new(),
        }])
    }

    /// The same, of this kind.
    #[must_use]
    pub fn of_kind(self, kind: &str) -> Self {
        match self {
            Self::Promised(mut all) => {
                all.iter_mut()
                    .for_each(|one| kind.clone_into(&mut one.kind));
                Self::Promised(all)
            }
            refused @ Self::Refused(_) => refused,
        }
    }
}

pub(crate) type Operate =
    Rc<dyn Fn(Run, Operation) -> Pin<Box<dyn Future<Output = Outcome<Answer>>>>>;

/// The queue in which some operations end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parks {
    pub(crate) queue: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) hole: u32,
}

/// A chapter's scenario.
#[derive(Clone)]
pub struct Scenario {
    pub(crate) roles: Vec<Role>,
    pub(crate) operations: usize,
    pub(crate) at_once: usize,
    pub(crate) operate: Operate,
    pub(crate) confirmed: bool,
    pub(crate) broker: bool,
    pub(crate) topology: Option<&'static str>,
    pub(crate) hole_for: fn(Topic) -> u32,
    pub(crate) parks: Option<Parks>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("roles", &self.roles)
            .finish()
    }
}

impl Scenario {
    /// A scenario of so many operations, one after the other. `operate` is one try of a client.
    pub fn new(
        operations: usize,
        operate: impl AsyncFn(&Run, &Operation) -> Outcome<Answer> + 'static,
    ) -> Self {
        let operate = Rc::new(operate);
        Self {
            roles: Vec::new(),
            operations,
            at_once: 1,
            operate: Rc::new(move |run, operation| {
                let operate = operate.clone();
                Box::pin(async move { operate(&run, &operation).await })
            }),
            confirmed: true,
            broker: true,
            topology: None,
            hole_for: |_| 1,
            parks: None,
        }
    }

    /// With this role.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.roles.push(role);
        self
    }

    /// So many operations beside each other.
    #[must_use]
    pub fn at_once(mut self, count: usize) -> Self {
        self.at_once = count;
        self
    }

    /// A success promises nothing that the broker has to confirm.
    #[must_use]
    pub fn unconfirmed(mut self) -> Self {
        self.confirmed = false;
        self
    }

    /// Its services talk to each other without a broker.
    #[must_use]
    pub fn without_broker(mut self) -> Self {
        self.broker = false;
        self.unconfirmed()
    }

    /// An administrator has declared the exchanges and queues of this file of the workspace.
    #[must_use]
    pub fn topology(mut self, file: &'static str) -> Self {
        self.topology = Some(file);
        self
    }

    /// Each promised message of this kind ends in this queue, for a person to look at: once, or more
    /// often after a fault. `hole` is the one that puts it there.
    #[must_use]
    pub fn parks(mut self, queue: &'static str, hole: u32, kind: &'static str) -> Self {
        self.parks = Some(Parks { queue, kind, hole });
        self
    }

    /// The hole to look at for a topic, as in the chapter's checks.
    #[must_use]
    pub fn holes(mut self, hole_for: fn(Topic) -> u32) -> Self {
        self.hole_for = hole_for;
        self
    }
}
