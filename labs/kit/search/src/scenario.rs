//! What a chapter says of itself: its services, a few operations, and where their effects are.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use check::{Lab, Outcome, Service, Topic};

use crate::play::Play;

/// Sets up a service before it is started.
type Prepare = dyn Fn(&Lab, Service) -> Service;

/// One service of a scenario, started once under its own name.
#[derive(Clone)]
pub struct Part {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<&'static str>,
    pub(crate) ready: Ready,
    pub(crate) table: Option<&'static str>,
    pub(crate) calls: Option<(&'static str, &'static str)>,
    pub(crate) prepare: Rc<Prepare>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish()
    }
}

/// When a part counts as started.
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

impl Part {
    fn new(name: &'static str, ready: Ready) -> Self {
        Self {
            name,
            arguments: vec![name],
            ready,
            table: None,
            calls: None,
            prepare: Rc::new(|_, service| service),
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

    /// A role that does one thing and ends: see [`Play::command`].
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

    /// It calls another part over HTTP; `variable` of its environment has that part's address.
    #[must_use]
    pub fn calls(mut self, server: &'static str, variable: &'static str) -> Self {
        self.calls = Some((server, variable));
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

/// How a service answered an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With success. Each of these marks is now promised: it must be the id, or part of the value,
    /// of one row at each of these parts; at all parts that record, if none is named.
    Promised(Vec<String>, &'static [&'static str]),
    /// Not with success, for this reason: the client tries again.
    Refused(String),
}

impl Answer {
    /// `Promised` for one mark when the response is a success, else `Refused`.
    #[must_use]
    pub fn of(answer: &Result<check::Response, String>, mark: &str) -> Self {
        match answer {
            Ok(response) if response.ok() => Self::Promised(vec![mark.to_owned()], &[]),
            Ok(response) => Self::Refused(response.summary()),
            Err(error) => Self::Refused(error.clone()),
        }
    }

    /// The same, promised at these parts and at no other.
    #[must_use]
    pub fn at(self, parts: &'static [&'static str]) -> Self {
        match self {
            Self::Promised(marks, _) => Self::Promised(marks, parts),
            refused @ Self::Refused(_) => refused,
        }
    }
}

pub(crate) type Operate =
    Rc<dyn Fn(Play, Operation) -> Pin<Box<dyn Future<Output = Outcome<Answer>>>>>;

/// A chapter's scenario.
#[derive(Clone)]
pub struct Scenario {
    pub(crate) parts: Vec<Part>,
    pub(crate) operations: usize,
    pub(crate) at_once: usize,
    pub(crate) operate: Operate,
    pub(crate) confirmed: bool,
    pub(crate) broker: bool,
    pub(crate) hole_for: fn(Topic) -> u32,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("parts", &self.parts)
            .finish()
    }
}

impl Scenario {
    /// A scenario of so many operations, one after the other. `operate` is one try of a client.
    pub fn new(
        operations: usize,
        operate: impl AsyncFn(&Play, &Operation) -> Outcome<Answer> + 'static,
    ) -> Self {
        let operate = Rc::new(operate);
        Self {
            parts: Vec::new(),
            operations,
            at_once: 1,
            operate: Rc::new(move |play, operation| {
                let operate = operate.clone();
                Box::pin(async move { operate(&play, &operation).await })
            }),
            confirmed: true,
            broker: true,
            hole_for: |_| 1,
        }
    }

    /// With this part.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
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

    /// The hole to look at for a topic, as in the chapter's checks.
    #[must_use]
    pub fn holes(mut self, hole_for: fn(Topic) -> u32) -> Self {
        self.hole_for = hole_for;
        self
    }
}
