//! A service as a check speaks of it.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;

use super::{Lab, Locked, Login, Outcome, Port, Row, database};
use process::{Launch, Process, read_log};
use wiretap::Wiretap;

/// A service under check: it can be started and ended many times, always with the same
/// name, port, data and wiretap. Clones are the same service.
#[derive(Debug, Clone)]
pub struct Service(pub(super) Rc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) lab: Lab,
    port: Port,
    tap: Option<Wiretap>,
    pub(super) launch: RefCell<Launch>,
    pub(super) process: RefCell<Option<Process>>,
    /// Whether it may end: the check has ended it or told it to, or that is its nature.
    pub(super) may_end: Cell<bool>,
}

impl Service {
    pub(super) fn new(lab: Lab, port: Port, tap: Option<Wiretap>, launch: Launch) -> Self {
        Self(Rc::new(Inner {
            lab,
            port,
            tap,
            launch: RefCell::new(launch),
            process: RefCell::default(),
            may_end: Cell::default(),
        }))
    }

    /// What the journal calls it: its role, where it has no name of its own.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.launch.borrow().name.clone()
    }

    /// The loopback port that it serves HTTP on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port.number()
    }

    /// The wiretap between it and the broker.
    ///
    /// # Panics
    /// In a chapter without a broker: there is no such wire.
    #[must_use]
    pub fn tap(&self) -> &Wiretap {
        self.0
            .tap
            .as_ref()
            .expect("a check of a chapter without a broker asked for its wiretap")
    }

    /// Where its SQLite file is.
    #[must_use]
    pub fn database(&self) -> std::path::PathBuf {
        self.0.launch.borrow().environment["DATABASE"]
            .clone()
            .into()
    }

    /// What its SQLite file holds in `table`, in order of arrival; nothing when that is not
    /// there yet.
    ///
    /// # Errors
    /// Unknown when the file cannot be read.
    pub fn rows(&self, table: &str) -> Outcome<Vec<Row>> {
        Ok(database::rows(&self.database(), table)?)
    }

    /// Locks its SQLite file, as another program's long transaction would: it can read and
    /// not write until the lock is dropped.
    ///
    /// # Errors
    /// Unknown when the file cannot be locked.
    pub fn lock_database(&self) -> Outcome<Locked> {
        Ok(Locked::new(
            &self.name(),
            &self.database(),
            self.0.lab.journal(),
        )?)
    }

    /// Adds to the environment that it is started with.
    #[must_use]
    pub fn with(self, name: &str, value: impl Display) -> Self {
        let mut launch = self.0.launch.borrow_mut();
        launch
            .environment
            .insert(name.to_owned(), value.to_string());
        drop(launch);
        self
    }

    /// The value of a variable of the environment that it is started with.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.0.launch.borrow().environment.get(name).cloned()
    }

    /// Takes a variable out of the environment that it is started with.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.0.launch.borrow_mut().environment.remove(name);
        self
    }

    /// Has it reach its wiretap through another relay, which listens on the loopback port
    /// `port`.
    ///
    /// # Panics
    /// In a chapter without a broker.
    #[must_use]
    pub fn through(self, port: u16) -> Self {
        let [tap, relay] = [self.tap().port(), port].map(|port| format!(":{port}/"));
        match self.variable("AMQP_URL") {
            Some(url) => self.with("AMQP_URL", url.replace(&tap, &relay)),
            None => self.with("BROKER_PORT", port),
        }
    }

    /// Has it log in as `login` and ask for `vhost`, which may not be there.
    ///
    /// # Panics
    /// In a chapter without a broker.
    #[must_use]
    pub fn at(self, login: &Login, vhost: &str) -> Self {
        let url = self.0.lab.url_behind(self.tap(), Some(login), vhost);
        self.with("AMQP_URL", url)
    }

    /// Tells it by `BROKER_HOST` and so on, and not by `AMQP_URL`, where the broker is, which is
    /// behind its wiretap, and to log in there as `login` to `vhost`.
    ///
    /// # Panics
    /// In a chapter without a broker.
    #[must_use]
    pub fn logs_in(self, login: &Login, vhost: &str) -> Self {
        let variables = login.environment("127.0.0.1", self.tap().port(), vhost);
        let mut launch = self.0.launch.borrow_mut();
        launch.environment.remove("AMQP_URL");
        launch.environment.extend(variables);
        drop(launch);
        self
    }

    /// What it has printed, over all its starts.
    #[must_use]
    pub fn output(&self) -> String {
        let launch = self.0.launch.borrow();
        launch.log.as_deref().map(read_log).unwrap_or_default()
    }

    /// The last lines of what it printed, at most `count`.
    #[must_use]
    pub fn last_words(&self, count: usize) -> Vec<String> {
        let output = self.output();
        let lines: Vec<&str> = output.lines().filter(|l| !l.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(count);
        lines[from..].iter().map(|&line| line.to_owned()).collect()
    }
}
