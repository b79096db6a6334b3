//! Who takes the hosts away when they are no longer wanted: a process of its own, so that
//! no end of the command that made them, not even a `kill -9`, leaves anything behind.
//!
//! It holds the machine's one lock on the hosts from before the first namespace is made
//! until the last file is gone. When its standard input ends it sweeps, unless it was told
//! to leave everything as it is.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use process::parent;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::place::Place;
use super::sweep::sweep;
use terminal::user_error;

/// The hidden first argument of the keeper's process.
pub const ARGUMENT: &str = "__hosts-keeper";

/// One for the machine: so are the names of the namespaces.
const LOCK: &str = "/run/lab-hosts.lock";
/// What another command's keeper gets to sweep when that command has ended.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a sweep takes at most.
const SWEEP: Duration = Duration::from_secs(120);
const KEEP: &[u8] = b"keep\n";

/// The keeper, as the command that started it has it. Dropped, it sweeps.
pub struct Keeper {
    child: Child,
}

impl Keeper {
    /// Takes the machine's lock on hosts, waiting for a keeper that is just sweeping.
    ///
    /// # Errors
    /// When another command uses them, or hosts of another clone are there.
    pub async fn start(place: &Place) -> Result<Self> {
        let mut child = Command::new(process::this_program()?)
            .arg(ARGUMENT)
            .arg(&place.dir)
            .arg(std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is not for it.
            .process_group(0)
            .spawn()
            .context("cannot start the hosts' keeper")?;
        let stdout = child.stdout.as_mut().context("the keeper has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        match line.trim_end() {
            "ready" => Ok(Self { child }),
            line => {
                let (what, mend) = line.split_once('\t').unwrap_or((line, "just hosts down"));
                Err(user_error(what, mend))
            }
        }
    }

    /// Lets everything stand.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub async fn keep(mut self) -> Result<()> {
        let mut stdin = self.child.stdin.take().context("the keeper has no stdin")?;
        stdin.write_all(KEEP).await.context("the keeper is gone")?;
        drop(stdin);
        self.child.wait().await.context("the keeper").map(drop)
    }

    /// Takes everything away and waits until that is done.
    ///
    /// # Errors
    /// When something stays: what, and why.
    pub async fn sweep(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let mut said = String::new();
        let work = async {
            if let Some(mut stdout) = self.child.stdout.take() {
                stdout.read_to_string(&mut said).await?;
            }
            self.child.wait().await
        };
        let status = tokio::time::timeout(SWEEP, work).await;
        let status = status.context("taking the hosts away takes too long")??;
        if !status.success() {
            bail!("{}", said.trim());
        }
        Ok(())
    }
}

/// The keeper's own `main`.
pub fn main(args: &[OsString]) -> i32 {
    let [dir, parent] = args else { return 2 };
    let place = Place {
        dir: PathBuf::from(dir),
    };
    let lock = match lock(&place, &parent.to_string_lossy()) {
        Ok(lock) => lock,
        Err(why) => {
            println!("{why}");
            return 2;
        }
    };
    println!("ready");
    let mut asked = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut asked);
    if asked == KEEP {
        return 0;
    }
    let swept = actix_web::rt::System::new().block_on(sweep(&place));
    match swept {
        Ok(()) => {
            let _ = lock.set_len(0);
            0
        }
        Err(error) => {
            // Nobody may listen any more.
            let _ = writeln!(std::io::stdout(), "{error:#}");
            1
        }
    }
}

/// Takes the lock and writes into it whose hosts they are. The error is what to tell a
/// person, and after a tab what to do.
fn lock(place: &Place, parent: &str) -> Result<File, String> {
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o644)
        .open(LOCK);
    let mut file = open.map_err(|error| format!("cannot open {LOCK}: {error}\tbe root"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => read(&mut file),
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock {LOCK}: {error}")),
        };
        // The lock is held an instant before its owner is written into it.
        if let Some((pid, _)) = held
            && parent::is_alive(pid)
        {
            return Err(format!(
                "another command works with the hosts (process {pid})\tlet it end, or: kill {pid}"
            ));
        }
        if Instant::now() > deadline {
            return Err(format!("{LOCK} is held, and nobody says by whom\tps -ef"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if let Some((_, dir)) = read(&mut file)
        && dir != place.dir
        && dir.exists()
    {
        let dir = dir.display();
        return Err(format!(
            "hosts of another clone of the lab are up, with their files in {dir}\t\
             just hosts down, in that clone"
        ));
    }
    let text = format!("{parent} {}", place.dir.display());
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("cannot write {LOCK}: {error}"))?;
    Ok(file)
}

/// The process and the folder that the lock names.
fn read(file: &mut File) -> Option<(i32, PathBuf)> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let (pid, dir) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, PathBuf::from(dir)))
}
