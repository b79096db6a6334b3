//! Makes the writes of a service's SQLite database slow, and acts in the middle of one.
//!
//! A trigger on each table computes before each row is written, inside the service's own transaction. So
//! there is time to see that the write is under way, and whatever is done then comes after all that
//! was committed before, and before this commit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use check::wiretap::Act;
use nix::time::{ClockId, clock_gettime};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::watch;

/// How long a row takes: not longer than another program waits for the database.
pub const SLOW: Duration = Duration::from_millis(950);
/// How long a write is under way before the act: a program that waits for it for half a second,
/// and goes on without it, must be seen to do so.
pub const SURE: Duration = Duration::from_millis(750);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long to wait for a database that another program has locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for one write. Dropping it makes the writes fast again.
#[derive(Debug)]
pub struct SlowWrites {
    seen: watch::Receiver<bool>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for SlowWrites {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl SlowWrites {
    /// Does `act` in the middle of the `nth` write to `database` from now on; where others write it, too,
    /// in the middle of the `nth` row with the value `own`.
    ///
    /// # Errors
    /// When the database cannot be changed, or no thread can be started.
    pub fn at(database: &Path, own: Option<&str>, nth: usize, act: Act) -> Result<Self> {
        let connection = Connection::open(database)?;
        connection.busy_timeout(PATIENCE)?;
        let names = slow_down(&connection, own, nth)
            .with_context(|| format!("cannot slow {} down", database.display()))?;
        let (saw, seen) = watch::channel(false);
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = thread::Builder::new()
            .name("slow writes".to_owned())
            .spawn(move || {
                if wait_for(&connection, nth, &ended) {
                    act();
                    saw.send_replace(true);
                }
                while !ended.load(Ordering::Relaxed) {
                    thread::sleep(LOOK_AGAIN);
                }
                let _ = connection.busy_timeout(PATIENCE);
                for name in names {
                    // The run's folder, with the database in it, may be gone.
                    let _ = connection.execute_batch(&format!("DROP TRIGGER IF EXISTS {name}"));
                }
            })
            .context("no thread can be started to watch a database")?;
        let thread = Some(thread);
        Ok(Self { seen, over, thread })
    }

    /// Waits until it has happened; for ever if it never does.
    pub async fn comes(&mut self) {
        if self.seen.wait_for(|seen| *seen).await.is_err() {
            std::future::pending().await
        }
    }

    /// Makes the writes fast again, once the service that was in the middle of one is gone.
    ///
    /// # Errors
    /// When the thread that does it has panicked.
    pub async fn end(mut self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let joined = tokio::task::spawn_blocking(|| thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the thread that slows writes down has panicked"))
    }
}

/// Creates the triggers, and gives their names: each of two watches has its own.
fn slow_down(connection: &Connection, own: Option<&str>, nth: usize) -> Result<Vec<String>> {
    let rows = rows_in(SLOW)?;
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut names = Vec::new();
    for table in tables {
        let events: &[&str] = match own {
            Some(_) => &["INSERT"],
            None => &["INSERT", "UPDATE", "DELETE"],
        };
        let only = own.map_or(String::new(), |own| format!("WHEN NEW.value = '{own}'"));
        for event in events {
            let name = format!("\"slow {table} {event} {} {nth}\"", own.unwrap_or_default());
            let busy = computing(rows);
            connection.execute_batch(&format!(
                "CREATE TRIGGER {name} BEFORE {event} ON {table} {only} BEGIN {busy}; END"
            ))?;
            names.push(name);
        }
    }
    Ok(names)
}

/// A query that computes over so many rows.
fn computing(rows: u64) -> String {
    format!(
        "SELECT count(*) FROM (WITH RECURSIVE some(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM some WHERE n < {rows}) SELECT n FROM some)"
    )
}

/// How many rows take so long on this machine, when it does nothing else: the processor's time of
/// the fastest of a few measurements tells.
fn rows_in(time: Duration) -> Result<u64> {
    const SOME: u32 = 20_000;
    let connection = Connection::open_in_memory()?;
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let before = used()?;
        connection.query_row(&computing(SOME.into()), [], |_| Ok(()))?;
        fastest = fastest.min(used()?.saturating_sub(before));
    }
    let each = (fastest / SOME).as_nanos().max(1);
    Ok(u64::try_from(time.as_nanos() / each)?)
}

/// Whether the `nth` slow write was seen under way before the watch was over.
fn wait_for(connection: &Connection, nth: usize, over: &AtomicBool) -> bool {
    let (mut begun, mut since) = (0, None);
    let mut version = commits(connection);
    let _ = connection.busy_timeout(Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let now = commits(connection);
        // The next write may begin at once.
        if now != version || !is_written(connection) {
            (version, since) = (now, None);
        } else if since.is_none() {
            since = Some((Instant::now(), false));
        }
        if let Some((at, counted @ false)) = &mut since
            && at.elapsed() > SURE
        {
            *counted = true;
            begun += 1;
            if begun == nth {
                return true;
            }
        }
        thread::sleep(LOOK_AGAIN);
    }
    false
}

/// A number that changes with each commit of another program; `None` when SQLite does not say.
fn commits(connection: &Connection) -> Option<i64> {
    let pragma = "PRAGMA data_version";
    connection.query_row(pragma, [], |row| row.get(0)).ok()
}

/// Whether another program is writing.
fn is_written(connection: &Connection) -> bool {
    let begun = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
    begun.is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}
