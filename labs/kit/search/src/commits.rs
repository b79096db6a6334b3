//! Sees the commits of a service's SQLite database, and acts right after one of them.
//!
//! A commit appends to the write-ahead log, then waits for the disk. We look at the log's length and
//! time again and again, on a thread of our own, and act while the service still waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tokio::sync::watch;

/// A log that has not grown for this long belongs to one commit.
const QUIET: Duration = Duration::from_micros(100);

/// Waits for one commit. Dropping it ends the watch.
#[derive(Debug)]
pub struct Commits {
    seen: watch::Receiver<bool>,
    over: Arc<AtomicBool>,
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Commits {
    /// Does `act` as soon as the `nth` commit from now on has been appended to the log of `database`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn after(database: &Path, nth: usize, act: Box<dyn FnOnce() + Send>) -> Result<Self> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let (saw, seen) = watch::channel(false);
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        thread::Builder::new()
            .name("commits".to_owned())
            .spawn(move || {
                if wait_for(&log, nth, &ended) {
                    act();
                    saw.send_replace(true);
                }
            })
            .context("no thread can be started to watch a database")?;
        Ok(Self { seen, over })
    }

    /// Waits until it has happened; for ever if it never does.
    pub async fn comes(&mut self) {
        if self.seen.wait_for(|seen| *seen).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Whether the `nth` change of the log was seen before the watch was over.
fn wait_for(log: &Path, nth: usize, over: &AtomicBool) -> bool {
    let mut last = state(log);
    let mut count = 0;
    let mut changed: Option<Instant> = None;
    while !over.load(Ordering::Relaxed) {
        let now = state(log);
        if now != last {
            last = now;
            changed = Some(Instant::now());
        } else if changed.is_some_and(|at| at.elapsed() > QUIET) {
            changed = None;
            count += 1;
            if count == nth {
                return true;
            }
        }
        // Between two commits there is time to let others run.
        match changed {
            Some(_) => thread::yield_now(),
            None => thread::sleep(Duration::from_micros(50)),
        }
    }
    false
}

fn state(log: &Path) -> Option<(u64, SystemTime)> {
    let file = fs::metadata(log).ok()?;
    Some((file.len(), file.modified().ok()?))
}
