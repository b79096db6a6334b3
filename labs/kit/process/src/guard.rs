//! The guard: a process between us and a program, so that the program cannot outlive us.
//!
//! A guard is this same program under a hidden first argument. It starts the guarded program
//! in a process group of its own, and kills that group when the guard's standard input ends.
//! The kernel ends that input however we end, even by SIGKILL.
//!
//! Each write to that input makes the guard send a SIGTERM to the program: the guard of a
//! program in front ([`IN_FRONT`]) reports no process id that we could signal.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The hidden first argument.
pub const ARGUMENT: &str = "__guard";

/// The hidden first argument of a guard that leaves the program its standard output and
/// says nothing itself: its exit code is the program's, or 128 and the signal's number.
pub const IN_FRONT: &str = "__guard-in-front";

/// How a guarded program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

/// What a guard reports on its standard output, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The program runs, under this process id, which is its process group's too.
    Running(i32),
    /// The program ended.
    Ended(Exit),
    /// The program could not be started.
    Failed(String),
}

impl Report {
    /// Reads a line that a guard wrote; `None` when it is not one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.trim_end().split_once(' ')?;
        match word {
            "running" => Some(Self::Running(rest.parse().ok()?)),
            "code" => Some(Self::Ended(Exit::Code(rest.parse().ok()?))),
            "signal" => Some(Self::Ended(Exit::Signal(rest.parse().ok()?))),
            "failed" => Some(Self::Failed(rest.to_owned())),
            _ => None,
        }
    }

    fn write(&self) {
        let line = match self {
            Self::Running(pid) => format!("running {pid}"),
            Self::Ended(Exit::Code(code)) => format!("code {code}"),
            Self::Ended(Exit::Signal(number)) => format!("signal {number}"),
            // A path may hold a line feed.
            Self::Failed(why) => format!("failed {}", why.replace('\n', " ")),
        };
        // A closed pipe means that our standard input has ended, too; the other thread acts.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// The guard's own `main`: `program` with `arguments`, whose output goes to the guard's
/// standard error. Gives the guard's exit code.
#[must_use]
pub fn main(program: &OsStr, arguments: &[OsString]) -> i32 {
    let running = |pid| Report::Running(pid).write();
    match guard(program, arguments, std::io::stderr().into(), running) {
        Ok(exit) => {
            Report::Ended(exit).write();
            0
        }
        Err(error) => {
            Report::Failed(format!("{error:#}")).write();
            1
        }
    }
}

/// The `main` of a guard in front: see [`IN_FRONT`]. Gives the guard's exit code, which is
/// 2 when the program cannot be started.
#[must_use]
pub fn main_in_front(program: &OsStr, arguments: &[OsString]) -> i32 {
    match guard(program, arguments, Stdio::inherit(), |_| ()) {
        Ok(Exit::Code(code)) => code,
        // As shells do.
        Ok(Exit::Signal(number)) => 128 + number,
        Err(error) => {
            eprintln!("error: {error:#}");
            2
        }
    }
}

fn guard(
    program: &OsStr,
    arguments: &[OsString],
    output: Stdio,
    running: impl FnOnce(i32),
) -> Result<Exit> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", Path::new(program).display()))?;
    let pid = i32::try_from(child.id()).context("a process id beyond i32")?;
    running(pid);
    let group = Pid::from_raw(pid);
    std::thread::spawn(move || follow_lifeline(group));
    let status = child.wait().context("cannot wait for the program")?;
    // Processes that it has started end with it.
    let _ = killpg(group, Signal::SIGKILL);
    Ok(status.into())
}

/// Sends a SIGTERM for each write to standard input, and a SIGKILL when that ends.
fn follow_lifeline(group: Pid) {
    let mut words = [0; 16];
    // The group may have ended by itself; then no process gets the signal.
    loop {
        match std::io::stdin().read(&mut words) {
            Ok(1..) => drop(killpg(group, Signal::SIGTERM)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    let _ = killpg(group, Signal::SIGKILL);
}
