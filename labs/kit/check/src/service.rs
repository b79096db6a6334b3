//! A service under check: its name, port, data, environment and output.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Lab, Locked, Login, Outcome, Port, Row, database};
use nix::sys::signal::Signal;
use process::{Launch, Process, read_log};
use wiretap::Wiretap;

/// A service under check. It can be started and ended many times, with the same name, port, data
/// and wiretap. Clones are the same service.
#[derive(Debug, Clone)]
pub struct Service(pub(super) Rc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) lab: Lab,
    port: Port,
    tap: Option<Wiretap>,
    pub(super) launch: RefCell<Launch>,
    pub(super) process: RefCell<Option<Process>>,
    pub(super) signals: Signals,
    /// Whether it may end: the check ends it, or the program has only one thing to do.
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
            signals: Signals::default(),
            may_end: Cell::default(),
        }))
    }

    /// Its name in the journal: its role, unless it has a name of its own.
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
    /// In a chapter without a broker.
    #[must_use]
    pub fn tap(&self) -> &Wiretap {
        self.0
            .tap
            .as_ref()
            .expect("a check of a chapter without a broker asked for its wiretap")
    }

    /// The path of its SQLite file.
    #[must_use]
    pub fn database(&self) -> std::path::PathBuf {
        self.0.launch.borrow().environment["DATABASE"]
            .clone()
            .into()
    }

    /// The rows of `table` in its SQLite file, in order of arrival; none when the table does not
    /// exist yet.
    ///
    /// # Errors
    /// Unknown when the file cannot be read.
    pub fn rows(&self, table: &str) -> Outcome<Vec<Row>> {
        Ok(database::rows(&self.database(), table)?)
    }

    /// Locks its SQLite file, as a long transaction of another program does: the service can read
    /// but not write until the lock is dropped.
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

    /// Adds a variable to its environment.
    #[must_use]
    pub fn with(self, name: &str, value: impl Display) -> Self {
        let mut launch = self.0.launch.borrow_mut();
        launch
            .environment
            .insert(name.to_owned(), value.to_string());
        drop(launch);
        self
    }

    /// The value of a variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.0.launch.borrow().environment.get(name).cloned()
    }

    /// Removes a variable from its environment.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.0.launch.borrow_mut().environment.remove(name);
        self
    }

    /// Makes it reach its wiretap through another relay, which listens on loopback port `port`.
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

    /// Makes it log in as `login` to `vhost`, which need not exist.
    ///
    /// # Panics
    /// In a chapter without a broker.
    #[must_use]
    pub fn at(self, login: &Login, vhost: &str) -> Self {
        let url = self.0.lab.url_behind(self.tap(), Some(login), vhost);
        self.with("AMQP_URL", url)
    }

    /// Makes it log in as `login` to `vhost`, with `BROKER_HOST` and its like in its environment
    /// instead of `AMQP_URL`. The broker is behind its wiretap.
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

    /// The source file that the program's panics name: relative to the workspace.
    pub(super) fn source(&self, file: &str) -> std::path::PathBuf {
        self.0.lab.0.config.paths.root.join(file)
    }

    /// What it has printed since its first start.
    #[must_use]
    pub fn output(&self) -> String {
        let launch = self.0.launch.borrow();
        launch.log.as_deref().map(read_log).unwrap_or_default()
    }

    /// How many bytes it has printed since its first start.
    pub(super) fn printed(&self) -> u64 {
        let launch = self.0.launch.borrow();
        let log = launch.log.as_deref().map(std::fs::metadata);
        log.and_then(Result::ok).map_or(0, |log| log.len())
    }

    /// The last lines that it printed, at most `count`, without its passwords.
    #[must_use]
    pub fn last_words(&self, count: usize) -> Vec<String> {
        let output = self.masked(&self.output());
        let lines: Vec<&str> = output.lines().filter(|l| !l.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(count);
        lines[from..].iter().map(|&line| line.to_owned()).collect()
    }
}

/// Sends signals from any thread to the process that was started last.
#[derive(Clone, Default)]
pub(super) struct Signals(Arc<Mutex<Option<Sender>>>);

type Sender = Box<dyn Fn(Signal) + Send>;

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    pub(super) fn go_to(&self, process: &Process) {
        *self.sender() = Some(Box::new(process.signaller()));
    }

    pub(super) fn send(&self, signal: Signal) {
        if let Some(sender) = &*self.sender() {
            sender(signal);
        }
    }

    fn sender(&self) -> MutexGuard<'_, Option<Sender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
