//! Runs one program behind a guard: starts it, logs what it prints, signals it, reports its end.
//!
//! The guard ([`crate::guard`]) ends the program with us, however we end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::watch;

use crate::guard::{self, Exit, Report};

/// What is reported of a program whose guard is gone and cannot say how the program ended.
const LOST: Exit = Exit::Signal(Signal::SIGKILL as i32);

/// What to start: program, arguments and environment.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// What messages about it and the journal call it.
    pub name: String,
    /// The program's arguments. Those of a chapter's program begin with the role.
    pub arguments: Vec<OsString>,
    /// The environment, added to this process's own.
    pub environment: BTreeMap<String, String>,
    /// The file to which its output is appended; without one, the output goes into a pipe.
    pub log: Option<PathBuf>,
}

impl Launch {
    /// The command that starts the guard of that kind, and the guard this program.
    pub(crate) fn guarded_by(&self, guard: &str) -> std::io::Result<Command> {
        let mut command = Command::new(crate::this_program()?);
        command
            .arg(guard)
            .arg(&self.program)
            .args(&self.arguments)
            // Don't pass our `PORT` to a service without one.
            .env_remove("PORT")
            .envs(&self.environment)
            // Ctrl-C at the terminal is for us alone; we then ask the program to end.
            .process_group(0);
        Ok(command)
    }
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It runs.
    Started,
    /// It is killed.
    Killed,
    /// It is kept from running.
    Frozen,
    /// It may run again.
    Thawed,
    /// It is asked to stop.
    Terminated,
    /// It has ended.
    Ended(Exit),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Killed => f.write_str("killed (SIGKILL)"),
            Self::Frozen => f.write_str("frozen (SIGSTOP)"),
            Self::Thawed => f.write_str("thawed (SIGCONT)"),
            Self::Terminated => f.write_str("asked to stop (SIGTERM)"),
            Self::Ended(exit) => write!(f, "ended: {exit}"),
        }
    }
}

/// A started program. Dropping it kills the program and what that has started.
pub struct Process {
    name: String,
    log: Option<PathBuf>,
    output: Option<ChildStderr>,
    pid: Pid,
    ended: watch::Receiver<Option<Exit>>,
    tell: Rc<dyn Fn(Change)>,
    // The guard kills the program when this is closed.
    _lifeline: ChildStdin,
}

impl Process {
    /// Starts `launch` behind a guard and waits until the program runs. `tell` gets what
    /// happens to it from then on.
    ///
    /// # Errors
    /// When guard or program cannot be started.
    pub async fn start(launch: &Launch, tell: impl Fn(Change) + 'static) -> Result<Self> {
        let tell: Rc<dyn Fn(Change)> = Rc::new(tell);
        let output = launch.log.as_deref().map_or(Ok(Stdio::piped()), open)?;
        let mut guard = launch
            .guarded_by(guard::ARGUMENT)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start the guard of {}", launch.name))?;
        let lifeline = guard.stdin.take().context("the guard has no stdin")?;
        let output = guard.stderr.take();
        let (pid, ended) = follow(guard, launch, tell.clone()).await?;
        tell(Change::Started);
        Ok(Self {
            name: launch.name.clone(),
            log: launch.log.clone(),
            output,
            pid,
            ended,
            tell,
            _lifeline: lifeline,
        })
    }

    /// The pipe into which the program prints; `None` when it has a log, and the second time.
    pub fn take_output(&mut self) -> Option<ChildStderr> {
        self.output.take()
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

    /// Kills it (SIGKILL) and waits until it has ended.
    ///
    /// # Errors
    /// When it still runs after 5 s.
    pub async fn kill(&self) -> Result<Exit> {
        (self.tell)(Change::Killed);
        self.signal(Signal::SIGKILL)?;
        self.end(Duration::from_secs(5)).await
    }

    /// Stops it from running, as a long pause or a hung machine does (SIGSTOP).
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        (self.tell)(Change::Frozen);
        self.signal(Signal::SIGSTOP)
    }

    /// Sends it a signal from any thread, at once and as often as it is called; nothing once it has
    /// ended.
    pub fn signaller(&self) -> impl Fn(Signal) + Send + 'static {
        let (pid, ended) = (self.pid, self.ended.clone());
        move |signal| {
            if ended.borrow().is_none() {
                // It may be dead, and its guard about to say so.
                let _ = killpg(pid, signal);
            }
        }
    }

    /// Lets a frozen process run again (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        (self.tell)(Change::Thawed);
        self.signal(Signal::SIGCONT)
    }

    /// Asks it to stop, as every orchestrator does (SIGTERM).
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        (self.tell)(Change::Terminated);
        self.signal(Signal::SIGTERM)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not after `deadline`.
    pub async fn end(&self, deadline: Duration) -> Result<Exit> {
        let wait = tokio::time::timeout(deadline, self.wait()).await;
        wait.ok()
            .with_context(|| format!("{} still runs after {deadline:?}", self.name))
    }

    /// Waits until it has ended, without holding it: the program is killed when this value
    /// is dropped, also while somebody waits.
    pub fn wait(&self) -> impl Future<Output = Exit> + use<> {
        let mut ended = self.ended.clone();
        async move {
            let exit = ended.wait_for(Option::is_some).await;
            // The sender sends an exit before it goes.
            exit.ok().and_then(|exit| *exit).unwrap_or(LOST)
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

    /// The same, at once; `None` where the system has no `/proc`, as on macOS.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim_end_matches("kB").trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    /// How many threads it has; 0 where the system does not say, as on macOS.
    #[must_use]
    pub fn all_threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count)
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

    /// What its log holds; nothing when it has none.
    #[must_use]
    pub fn output(&self) -> String {
        self.log.as_deref().map(read_log).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let kill = signal == Signal::SIGKILL;
        match self.ended() {
            Some(_) if kill => return Ok(()),
            // Another process may have its process id by now.
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

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({}, {})", self.name, self.pid)
    }
}

fn open(log: &Path) -> Result<Stdio> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    let file = file.with_context(|| format!("cannot write {}", log.display()))?;
    Ok(file.into())
}

/// What a log file holds; nothing when the file does not exist.
#[must_use]
pub fn read_log(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Waits until the guard says that the program runs, then follows it to its end.
async fn follow(
    mut guard: Child,
    launch: &Launch,
    tell: Rc<dyn Fn(Change)>,
) -> Result<(Pid, watch::Receiver<Option<Exit>>)> {
    let output = guard.stdout.take().context("the guard has no stdout")?;
    let mut lines = BufReader::new(output).lines();
    let pid = match lines.next_line().await?.as_deref().and_then(Report::parse) {
        Some(Report::Running(pid)) => Pid::from_raw(pid),
        Some(Report::Failed(why)) => bail!(why),
        other => bail!("the guard of {} said {other:?}", launch.name),
    };
    let (sender, ended) = watch::channel(None);
    // Ends with the guard, which ends when the process that holds its lifeline drops it.
    tokio::task::spawn_local(async move {
        let line = lines.next_line().await.ok().flatten();
        let exit = match line.as_deref().and_then(Report::parse) {
            Some(Report::Ended(exit)) => exit,
            _ => LOST,
        };
        // First, so that what the program used counts as used when its end is known (`getrusage`).
        let _ = guard.wait().await;
        tell(Change::Ended(exit));
        let _ = sender.send(Some(exit));
    });
    Ok((pid, ended))
}
