//! Runs the chapter's programs as processes, on a host or on this machine.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use process::{Exit, Launch, Process, read_log};
use wiretap::Journal;

use super::{HEARTBEAT_S, RATE, Role, WORK_MS};

/// How long a program may take to finish its current message.
const GRACE: Duration = Duration::from_secs(10);

/// The programs, their logs and databases. Dropping it kills the programs.
pub struct Programs {
    pub program: PathBuf,
    pub dir: PathBuf,
    pub journal: Journal,
    running: RefCell<BTreeMap<&'static str, Process>>,
}

impl Programs {
    /// No program runs yet; empties `dir`, where their files will be.
    ///
    /// # Errors
    /// When the folder cannot be emptied or created.
    pub fn new(program: &Path, chapter: &str, dir: &Path) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir)
                .with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            journal: Journal::create(dir, chapter, "demo", 0)?,
            running: RefCell::default(),
        })
    }

    /// The path of a program's file.
    pub fn file(&self, role: Role, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", role.name()))
    }

    /// Starts a program. `through` holds the words before its command line that run it on a host;
    /// `login` is the environment that says where the broker is, and the user and password.
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
    /// When it does not end in time.
    pub async fn stop(&self, role: Role) -> Result<()> {
        let Some(process) = self.running.borrow_mut().remove(role.name()) else {
            return Ok(());
        };
        process.terminate()?;
        process.end(GRACE).await.map(drop)
    }

    /// Kills both programs and removes their logs and databases.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn clear(&self) -> Result<()> {
        for role in Role::ALL {
            let process = self.running.borrow_mut().remove(role.name());
            if let Some(process) = process {
                process.kill().await?;
            }
            for ending in ["log", "sqlite", "sqlite-wal", "sqlite-shm"] {
                match std::fs::remove_file(self.file(role, ending)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).context("cannot remove a program's file");
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Kills both programs.
    pub fn kill_all(&self) {
        self.running.borrow_mut().clear();
    }

    /// How a program ended that was not asked to.
    pub fn unasked_end(&self, role: Role) -> Option<Exit> {
        let running = self.running.borrow();
        running.get(role.name()).and_then(Process::ended)
    }

    /// What a program has printed.
    pub fn log(&self, role: Role) -> String {
        read_log(&self.file(role, "log"))
    }
}
