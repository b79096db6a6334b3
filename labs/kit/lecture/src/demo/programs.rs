//! The chapter's programs as processes of this machine, on a host or not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use process::{Exit, Launch, Process, read_log};
use wiretap::Journal;

use super::stage::{HEARTBEAT_S, RATE, Role, WORK_MS};

/// What a program gets to finish the message in hand.
const GRACE: Duration = Duration::from_secs(10);

/// The programs, their logs and databases. Dropped, they are killed.
pub struct Programs {
    pub program: PathBuf,
    pub dir: PathBuf,
    pub journal: Journal,
    running: RefCell<BTreeMap<&'static str, Process>>,
}

impl Programs {
    /// None of them yet; `dir` is emptied.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(program: &Path, dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir)
                .with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            journal: Journal::create(dir, "07", "demo", 0)?,
            running: RefCell::default(),
        })
    }

    /// A file of a role's.
    pub fn file(&self, role: Role, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", role.name()))
    }

    /// Starts a program after the words of `through`, which run it on a host; `login` says
    /// where the broker is and who it is there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(
        &self,
        role: Role,
        through: &[String],
        login: BTreeMap<String, String>,
    ) -> Result<()> {
        let mut environment = login;
        let database = self.file(role, "sqlite").display().to_string();
        for (name, value) in [
            ("BROKER_HEARTBEAT_S", HEARTBEAT_S.to_string()),
            ("DATABASE", database),
            ("RUST_LOG", "info".to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        let (option, value) = match role {
            Role::Producer => ("--rate", RATE),
            Role::Consumer => ("--work-ms", WORK_MS),
        };
        let mut words = through.to_vec();
        words.push(self.program.display().to_string());
        words.extend([role.name(), option].map(str::to_owned));
        words.push(value.to_string());
        let launch = Launch {
            program: words.remove(0).into(),
            name: role.name().to_owned(),
            arguments: words.into_iter().map(Into::into).collect(),
            environment,
            log: Some(self.file(role, "log")),
        };
        let process = Process::start(&launch, |_| ()).await?;
        self.running.borrow_mut().insert(role.name(), process);
        Ok(())
    }

    /// Asks a program to end and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(&self, role: Role) -> Result<()> {
        let Some(process) = self.running.borrow_mut().remove(role.name()) else {
            return Ok(());
        };
        process.terminate()?;
        process.end(GRACE).await.map(drop)
    }

    /// Kills all, and removes what they kept and said.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn clear(&self) -> Result<()> {
        for role in [Role::Producer, Role::Consumer] {
            let process = self.running.borrow_mut().remove(role.name());
            if let Some(process) = process {
                process.kill().await?;
            }
            for ending in ["log", "sqlite", "sqlite-wal", "sqlite-shm"] {
                match std::fs::remove_file(self.file(role, ending)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).context("cannot remove what a program kept");
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Kills all.
    pub fn kill(&self) {
        self.running.borrow_mut().clear();
    }

    /// How a program ended, if it has though nobody asked it to.
    pub fn ended(&self, role: Role) -> Option<Exit> {
        let running = self.running.borrow();
        running.get(role.name()).and_then(Process::ended)
    }

    /// What a program has printed.
    pub fn log(&self, role: Role) -> String {
        read_log(&self.file(role, "log"))
    }
}
