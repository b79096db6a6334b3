//! A service as a check speaks of it.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use awc::http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::http::{self, Response};
use super::{DEADLINE, Lab, Locked, Login, Outcome, PATIENCE, Port, Row, Seen, database, fail};
use crate::guard::Exit;
use crate::service::{Launch, Process};
use crate::wiretap::Wiretap;

/// A service under check: it can be started and ended many times, always with the same
/// name, port, data and wiretap. Clones are the same service.
#[derive(Debug, Clone)]
pub struct Service(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    lab: Lab,
    port: Port,
    tap: Option<Wiretap>,
    launch: RefCell<Launch>,
    process: RefCell<Option<Process>>,
    /// Whether it may end: the check has ended it or told it to, or that is its nature.
    may_end: Cell<bool>,
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

    /// Has it log in as `login`.
    ///
    /// # Panics
    /// In a chapter without a broker.
    #[must_use]
    pub fn as_user(self, login: &Login) -> Self {
        let url = self.0.lab.url_behind(self.tap(), Some(login), None);
        self.with("AMQP_URL", url)
    }

    /// Has it ask for the vhost `name`, which may not be there.
    ///
    /// # Panics
    /// In a chapter without a broker.
    #[must_use]
    pub fn at_vhost(self, name: &str) -> Self {
        let url = self.0.lab.url_behind(self.tap(), None, Some(name));
        self.with("AMQP_URL", url)
    }

    /// Starts it, and waits until it answers `GET /health`.
    ///
    /// # Errors
    /// A failure when it does not come up.
    pub async fn start(&self) -> Outcome {
        self.launch().await?;
        let name = self.name();
        self.0
            .lab
            .eventually(
                &format!("{name} starts and answers GET /health"),
                "a service that is not there can do nothing else right",
                async || {
                    Ok(match self.try_get("/health").await {
                        Ok(answer) => Seen::when(answer.ok(), || answer.summary()),
                        Err(error) => Seen::NotYet(error),
                    })
                },
            )
            .await
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// Unknown when no process can be made of the program.
    pub async fn launch(&self) -> Outcome {
        let launch = self.0.launch.borrow().clone();
        let process = Process::start(&launch, self.0.lab.journal()).await?;
        self.0.may_end.set(false);
        self.0.process.replace(Some(process));
        Ok(())
    }

    /// Starts it and does not wait; it may end by itself, as a program does that has one thing
    /// to do.
    ///
    /// # Errors
    /// Unknown when no process can be made of the program.
    pub async fn begin(&self) -> Outcome {
        self.launch().await?;
        self.0.may_end.set(true);
        Ok(())
    }

    /// Waits until it has ended by itself, and gives how.
    ///
    /// # Errors
    /// A failure when it goes on.
    pub async fn finished(&self) -> Outcome<Exit> {
        self.0.may_end.set(true);
        let name = self.name();
        let expected = format!("{name} ends by itself");
        let why = "whoever waits for a program that never ends waits for ever";
        let exit = self
            .0
            .lab
            .eventually_within(PATIENCE, &expected, why, async || {
                Ok(match self.exit() {
                    Some(exit) => Seen::Yes(exit),
                    None => Seen::NotYet(format!("{name} still runs")),
                })
            })
            .await?;
        // It may have ended at an open hole.
        self.0.lab.all_well()?;
        Ok(exit)
    }

    /// Starts it, waits until it has ended by itself, and gives how.
    ///
    /// # Errors
    /// As [`Service::begin`] and [`Service::finished`].
    pub async fn run(&self) -> Outcome<Exit> {
        self.begin().await?;
        self.finished().await
    }

    /// Waits until it has printed `text`, over all its starts.
    ///
    /// # Errors
    /// A failure when it does not.
    pub async fn says(&self, text: &str) -> Outcome {
        let name = self.name();
        let expected = format!("{name} says `{text}`");
        let why = "what a service does not tell, nobody knows";
        self.0
            .lab
            .eventually(&expected, why, async || {
                let words = || self.last_words(1).join("");
                Ok(Seen::when(self.output().contains(text), || {
                    format!("it said last: {}", words())
                }))
            })
            .await
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// A failure when it has died by itself before; unknown when the kernel does not let it
    /// be killed.
    pub async fn kill(&self) -> Outcome {
        self.0.lab.all_well()?;
        self.0.may_end.set(true);
        let process = self.0.process.take();
        if let Some(process) = process {
            process.kill().await?;
        }
        Ok(())
    }

    /// Freezes it: it keeps its connections and says nothing more.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn freeze(&self) -> Outcome {
        self.act(Process::freeze)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn thaw(&self) -> Outcome {
        self.act(Process::thaw)
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn terminate(&self) -> Outcome {
        self.act(Process::terminate)?;
        self.0.may_end.set(true);
        Ok(())
    }

    fn act(&self, how: impl Fn(&Process) -> anyhow::Result<()>) -> Outcome {
        self.0.lab.all_well()?;
        let process = self.0.process.borrow();
        // Between the look above and the signal it may have ended, and not been missed yet.
        process.as_ref().map_or(Ok(()), how).map_err(|_| {
            let name = self.name();
            let words = self.last_words(3).join("\n");
            fail(
                format!("{name} keeps running"),
                format!("it ended; it printed last:\n{words}"),
            )
            .because("only what runs can be stopped in order")
            .into()
        })
    }

    /// Waits until it has ended, and gives how.
    ///
    /// # Errors
    /// A failure when it goes on.
    pub async fn ended(&self) -> Outcome<Exit> {
        let name = self.name();
        self.0
            .lab
            .eventually(
                &format!("{name} ends within {} s of SIGTERM", DEADLINE.as_secs()),
                "whoever stops it kills it when it takes too long, with work in hand",
                async || {
                    Ok(match self.exit() {
                        Some(exit) => Seen::Yes(exit),
                        None => Seen::NotYet(format!("{name} still runs")),
                    })
                },
            )
            .await
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.0.process.borrow().as_ref().and_then(Process::ended)
    }

    /// How it ended, when nobody told it to.
    pub(super) fn died(&self) -> Option<Exit> {
        if self.0.may_end.get() {
            return None;
        }
        self.exit()
    }

    /// What it has printed, over all its starts.
    #[must_use]
    pub fn output(&self) -> String {
        crate::service::read_log(&self.0.launch.borrow().log)
    }

    /// The URL of `path` on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    /// `GET path`.
    ///
    /// # Errors
    /// A failure when no answer comes.
    pub async fn get(&self, path: &str) -> Outcome<Response> {
        let answer = self.try_get(path).await;
        self.answered("GET", path, answer).await
    }

    /// `GET path`; what went wrong as text when no answer comes.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn try_get(&self, path: &str) -> Result<Response, String> {
        self.request(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// A failure when no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Response> {
        self.send(Method::POST, path, "application/json", body.to_string())
            .await
    }

    /// Any request.
    ///
    /// # Errors
    /// A failure when no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Outcome<Response> {
        let name = method.to_string();
        let body = Some((content_type, body.into()));
        let answer = self.request(method, path, body).await;
        self.answered(&name, path, answer).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response, String> {
        let what = format!("{method} {path} of {}", self.name());
        let answer = http::call(method, &self.url(path), body).await;
        let end = match &answer {
            Ok(answer) => answer.summary(),
            Err(error) => format!("{error:#}"),
        };
        if path != "/health" {
            self.0.lab.journal().note(format!("{what}: {end}"));
        }
        answer.map_err(|_| end)
    }

    async fn answered(
        &self,
        method: &str,
        path: &str,
        answer: Result<Response, String>,
    ) -> Outcome<Response> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // A service that ends closes its port first; that it has ended explains more.
        let over = Instant::now() + LAST_BREATH;
        while Instant::now() < over {
            self.0.lab.all_well()?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let expected = format!("{} answers {method} {path}", self.name());
        Err(fail(expected, format!("no answer: {error}"))
            .because("a caller who gets no answer cannot know what happened")
            .into())
    }

    /// Waits until it has ended when it is being stopped.
    ///
    /// # Errors
    /// See [`Service::terminate`] and [`Service::ended`].
    pub async fn stop(&self) -> Outcome<Exit> {
        self.terminate()?;
        self.ended().await
    }

    /// Kills it, without waiting, when the check is over.
    pub(super) fn drop_process(&self) {
        self.0.process.take();
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

/// From a service's closed port to its end it takes far less than this.
const LAST_BREATH: Duration = Duration::from_millis(500);
/// How often a state is looked at while it is waited for.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(15);
