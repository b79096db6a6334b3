//! A service under check: the student's program as a real process, with a role, a port, a
//! log of its own, and faults that can be done to it. Several may play one role, under
//! names of their own.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use crate::guard::{self, Exit, Report};
use crate::internal;
use crate::wiretap::{Event, Journal};

/// What to start: program, arguments and environment.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program under check.
    pub program: PathBuf,
    /// What the journal and the check call it.
    pub name: String,
    /// The role, then whatever that role takes.
    pub arguments: Vec<String>,
    /// The environment, added to this process's own.
    pub environment: BTreeMap<String, String>,
    /// Where what it prints goes, appended.
    pub log: PathBuf,
}

/// A started process. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: Pid,
    ended: watch::Receiver<Option<Exit>>,
    journal: Journal,
    // The guard kills the process when this is closed.
    _lifeline: ChildStdin,
}

impl Process {
    /// Starts `launch` behind a guard and waits until the process exists.
    ///
    /// # Errors
    /// When guard or program cannot be started.
    pub async fn start(launch: &Launch, journal: &Journal) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&launch.log)
            .with_context(|| format!("cannot write {}", launch.log.display()))?;
        let mut guard = Command::new(internal::this_program()?)
            .arg(guard::ARGUMENT)
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(&launch.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start the guard of a service")?;
        let lifeline = guard.stdin.take().context("the guard has no stdin")?;
        let (pid, ended) = follow(guard, launch, journal).await?;
        tell(journal, &launch.name, "started");
        Ok(Self {
            name: launch.name.clone(),
            log: launch.log.clone(),
            pid,
            ended,
            journal: journal.clone(),
            _lifeline: lifeline,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Exit> {
        *self.ended.borrow()
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When the kernel does not let it be killed.
    pub async fn kill(&self) -> Result<Exit> {
        tell(&self.journal, &self.name, "killed (SIGKILL)");
        self.signal(Signal::SIGKILL)?;
        self.end(Duration::from_secs(5)).await
    }

    /// Stops it from running, as a long pause or a hung machine does (SIGSTOP).
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        tell(&self.journal, &self.name, "frozen (SIGSTOP)");
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        tell(&self.journal, &self.name, "thawed (SIGCONT)");
        self.signal(Signal::SIGCONT)
    }

    /// Asks it to stop, as every orchestrator does (SIGTERM).
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        tell(&self.journal, &self.name, "asked to stop (SIGTERM)");
        self.signal(Signal::SIGTERM)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not after `deadline`.
    pub async fn end(&self, deadline: Duration) -> Result<Exit> {
        let mut ended = self.ended.clone();
        let wait = ended.wait_for(Option::is_some);
        match tokio::time::timeout(deadline, wait).await {
            Ok(Ok(exit)) => exit.context("ended without an exit"),
            Ok(Err(_)) => bail!("the guard of {} is gone", self.name),
            Err(_) => bail!("{} still runs after {deadline:?}", self.name),
        }
    }

    /// How much of the machine's memory it takes (its resident set), in bytes.
    ///
    /// # Errors
    /// When it has ended, or the system does not say.
    pub fn memory(&self) -> impl Future<Output = Result<u64>> + use<> {
        // `ps` is there on Linux and macOS alike, and gives kibibytes on both.
        let pid = self.pid.to_string();
        let mut ps = Command::new("ps");
        ps.args(["-o", "rss=", "-p", &pid]).stdin(Stdio::null());
        async move {
            let output = ps.output().await.context("cannot run `ps`")?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let kibibytes = text.parse::<u64>();
            let kibibytes = kibibytes.with_context(|| format!("`ps` said {text:?} of {pid}"))?;
            Ok(kibibytes * 1024)
        }
    }

    /// How many of its threads are called `name`; 0 where the system does not say, as on macOS.
    #[must_use]
    pub fn threads(&self, name: &str) -> usize {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return 0;
        };
        let names = threads.flatten().map(|one| one.path().join("comm"));
        let names = names.filter_map(|path| std::fs::read_to_string(path).ok());
        names.filter(|one| one.trim_end() == name).count()
    }

    /// What it printed.
    #[must_use]
    pub fn output(&self) -> String {
        read_log(&self.log)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let kill = signal == Signal::SIGKILL;
        match self.ended() {
            Some(_) if kill => return Ok(()),
            // Its process id may be somebody else's by now.
            Some(exit) => bail!("{} has ended ({exit})", self.name),
            None => {}
        }
        match killpg(self.pid, signal) {
            // Dead by itself, and its guard is about to say so.
            Err(Errno::ESRCH) if kill => Ok(()),
            sent => sent.with_context(|| format!("cannot send {signal} to {}", self.name)),
        }
    }
}

/// What a log file holds; nothing when it is not there.
#[must_use]
pub fn read_log(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn tell(journal: &Journal, name: &str, what: &str) {
    journal.record(Event::Service {
        service: name.to_owned(),
        what: what.to_owned(),
    });
}

/// Waits until the guard says that the program runs, then follows it to its end.
async fn follow(
    mut guard: Child,
    launch: &Launch,
    journal: &Journal,
) -> Result<(Pid, watch::Receiver<Option<Exit>>)> {
    let output = guard.stdout.take().context("the guard has no stdout")?;
    let mut lines = BufReader::new(output).lines();
    let pid = match lines.next_line().await?.as_deref().and_then(Report::parse) {
        Some(Report::Running(pid)) => Pid::from_raw(pid),
        Some(Report::Failed(why)) => bail!(why),
        other => bail!("the guard of {} said {other:?}", launch.name),
    };
    let (sender, ended) = watch::channel(None);
    let (name, journal) = (launch.name.clone(), journal.clone());
    // Ends with the guard, which ends when the process that holds its lifeline drops it.
    tokio::task::spawn_local(async move {
        let line = lines.next_line().await.ok().flatten();
        let exit = match line.as_deref().and_then(Report::parse) {
            Some(Report::Ended(exit)) => exit,
            _ => Exit::Signal(Signal::SIGKILL as i32),
        };
        tell(&journal, &name, &format!("ended: {exit}"));
        let _ = sender.send(Some(exit));
        let _ = guard.wait().await;
    });
    Ok((pid, ended))
}
