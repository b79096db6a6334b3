//! Removes the hosts when the command that made them ends. The guard is a process of its own, so
//! even a command that is killed with `kill -9` leaves nothing behind.
//!
//! The guard holds the machine's one lock on the hosts from before the first namespace is created
//! until the last file is removed. When its standard input ends, it removes everything, unless it
//! was told to leave the hosts.

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

use super::cleanup::clean_up;
use super::host::HostsDir;
use terminal::user_error;

/// The hidden first argument of the guard's process.
pub const ARGUMENT: &str = "__hosts-guard";

/// One lock for the machine, as the namespaces have the same names in all clones.
const LOCK: &str = "/run/lab-hosts.lock";
/// How long the guard of a command that has ended may take to remove its hosts.
const LOCK_RELEASED: Duration = Duration::from_secs(120);
/// How long this command's own guard may take.
const HOSTS_REMOVED: Duration = Duration::from_secs(120);
/// What a command writes to its guard to leave the hosts running.
const LEAVE: &[u8] = b"leave\n";

/// The guard of this command's hosts. Dropping it has the guard remove them.
pub struct HostsGuard {
    child: Child,
}

impl HostsGuard {
    /// Takes the machine's lock on hosts; waits while another guard removes its hosts.
    ///
    /// # Errors
    /// When another command uses hosts, or hosts of another clone exist.
    pub async fn start(hosts_dir: &HostsDir) -> Result<Self> {
        let mut child = Command::new(process::this_program()?)
            .arg(ARGUMENT)
            .arg(&hosts_dir.path)
            .arg(std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C must not reach it.
            .process_group(0)
            .spawn()
            .context("cannot start the hosts' guard")?;
        let stdout = child.stdout.as_mut().context("the guard has no stdout")?;
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

    /// Ends the guard and leaves the hosts running.
    ///
    /// # Errors
    /// When the guard has ended already.
    pub async fn leave_hosts(mut self) -> Result<()> {
        let mut stdin = self.child.stdin.take().context("the guard has no stdin")?;
        stdin
            .write_all(LEAVE)
            .await
            .context("the hosts' guard has ended")?;
        drop(stdin);
        self.child.wait().await.context("the guard").map(drop)
    }

    /// Has the guard remove the hosts, and waits for it.
    ///
    /// # Errors
    /// When something cannot be removed: what, and why.
    pub async fn remove_hosts(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let mut said = String::new();
        let work = async {
            if let Some(mut stdout) = self.child.stdout.take() {
                stdout.read_to_string(&mut said).await?;
            }
            self.child.wait().await
        };
        let status = tokio::time::timeout(HOSTS_REMOVED, work).await;
        let status = status.context("removing the hosts takes too long")??;
        if !status.success() {
            bail!("{}", said.trim());
        }
        Ok(())
    }
}

/// The `main` of the guard's process.
pub fn main(args: &[OsString]) -> i32 {
    let [dir, parent] = args else { return 2 };
    let hosts_dir = HostsDir {
        path: PathBuf::from(dir),
    };
    let lock = match lock(&hosts_dir, &parent.to_string_lossy()) {
        Ok(lock) => lock,
        Err(why) => {
            println!("{why}");
            return 2;
        }
    };
    println!("ready");
    let mut asked = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut asked);
    if asked == LEAVE {
        return 0;
    }
    let removed = actix_web::rt::System::new().block_on(clean_up(&hosts_dir));
    match removed {
        Ok(()) => {
            let _ = lock.set_len(0);
            0
        }
        Err(error) => {
            // The command that reads this may have ended, which `println!` would panic at.
            let _ = writeln!(std::io::stdout(), "{error:#}");
            1
        }
    }
}

/// Takes the lock and writes this command's process and folder into it. The error says what is
/// wrong and, after a tab, what to do.
fn lock(hosts_dir: &HostsDir, parent: &str) -> Result<File, String> {
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o644)
        .open(LOCK);
    let mut file = open.map_err(|error| format!("cannot open {LOCK}: {error}\tbe root"))?;
    let deadline = Instant::now() + LOCK_RELEASED;
    loop {
        let held = match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => read_owner(&mut file),
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock {LOCK}: {error}")),
        };
        // A moment passes between locking the file and writing the owner into it, so an owner
        // that is unknown or has ended means: try again.
        if let Some((pid, _)) = held
            && parent::is_alive(pid)
        {
            return Err(format!(
                "another command works with the hosts (process {pid})\tlet it end, or: kill {pid}"
            ));
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{LOCK} is held by a process that did not write its id into it\tps -ef"
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if let Some((_, dir)) = read_owner(&mut file)
        && dir != hosts_dir.path
        && dir.exists()
    {
        let dir = dir.display();
        return Err(format!(
            "hosts of another clone of the lab are up, with their files in {dir}\t\
             just hosts down, in that clone"
        ));
    }
    let text = format!("{parent} {}", hosts_dir.path.display());
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("cannot write {LOCK}: {error}"))?;
    Ok(file)
}

/// The process and the folder that the lock file names.
fn read_owner(file: &mut File) -> Option<(i32, PathBuf)> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let (pid, dir) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, PathBuf::from(dir)))
}
