//! One service of the board: its process, and its link.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::Result;
use course::manifest::ServiceEntry;
use process::{Exit, Launch, Process};
use wiretap::{Event, HttpRelay, Journal, Link, Wiretap};

use crate::feed::Controls;

/// A service that was started at least once.
pub struct Service {
    pub entry: ServiceEntry,
    launch: Launch,
    url: Option<String>,
    process: RefCell<Option<Rc<Process>>>,
    pub tap: Tap,
    pub frozen: Cell<bool>,
    pub cut: Cell<bool>,
    /// Whether a button is being followed.
    pub busy: Cell<bool>,
    /// The last line that it printed, once it has ended by itself.
    says: RefCell<Option<String>>,
}

/// What stands between a service and what it calls.
pub enum Tap {
    Amqp(Wiretap),
    Http(HttpRelay),
    None,
}

impl Tap {
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Amqp(tap) => Some(tap),
            Self::Http(relay) => Some(relay),
            Self::None => None,
        }
    }
}

impl Service {
    /// A service that is not started yet.
    pub fn new(entry: ServiceEntry, launch: Launch, url: Option<String>, tap: Tap) -> Self {
        Self {
            entry,
            launch,
            url,
            process: RefCell::default(),
            tap,
            frozen: Cell::default(),
            cut: Cell::default(),
            busy: Cell::default(),
            says: RefCell::default(),
        }
    }

    pub async fn start(&self, journal: &Journal) -> Result<()> {
        let (journal, service) = (journal.clone(), self.entry.name.clone());
        let tell = move |what| {
            let service = service.clone();
            journal.record(Event::Service { service, what });
        };
        let process = Process::start(&self.launch, tell).await?;
        self.frozen.set(false);
        self.says.take();
        self.process.replace(Some(Rc::new(process)));
        Ok(())
    }

    /// Its process, if it has not ended.
    pub fn process(&self) -> Option<Rc<Process>> {
        let process = self.process.borrow().clone();
        process.filter(|process| process.ended().is_none())
    }

    /// The last line of its log, but no advice of Rust's, if it has ended by itself.
    fn last_words(&self) -> String {
        let process = self.process.borrow();
        let ended = process
            .as_ref()
            .filter(|process| matches!(process.ended(), Some(Exit::Code(_))));
        let Some(process) = ended else {
            return String::new();
        };
        let read = || {
            let output = process.output();
            let lines = output.lines().rev();
            let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("note: "));
            lines.next().unwrap_or_default().to_owned()
        };
        self.says.borrow_mut().get_or_insert_with(read).clone()
    }

    pub fn controls(&self) -> Controls {
        let state = match (self.process(), self.frozen.get()) {
            (None, _) => "ended",
            (_, true) => "frozen",
            (_, false) => "runs",
        };
        Controls {
            name: self.entry.name.clone(),
            state,
            cut: self.tap.link().map(|_| self.cut.get()),
            says: self.last_words(),
            url: self.url.clone(),
        }
    }
}
