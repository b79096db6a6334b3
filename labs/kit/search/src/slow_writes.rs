//! Makes one write to a service's SQLite database slow, and acts in the middle of it.
//!
//! A trigger on each table counts the rows, inside the service's own transaction, and computes at the
//! one that is meant, and for a third as long at the one before it, so that others arrive meanwhile. So
//! there is time to see that this write is under way, and what is done then comes before its commit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use check::wiretap::Act;
use nix::time::{ClockId, clock_gettime};
use rusqlite::{Connection, ErrorCode, Row};
use tokio::sync::watch;

/// How long the row takes: not longer than another program waits for the database.
pub const SLOW: Duration = Duration::from_millis(950);
/// How long a write is under way before the act: a program that waits for it for half a second,
/// and goes on without it, must be seen to do so.
pub const SURE: Duration = Duration::from_millis(750);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long to wait for a database that another program has locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for one write. Dropping it takes triggers and counter away.
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
    /// Does `act` in the middle of the `nth` row that is written to `database` from now on; where others
    /// write it, too, of the `nth` row with the value `own`.
    ///
    /// # Errors
    /// When the database cannot be changed, or no thread can be started.
    pub fn at(database: &Path, own: Option<&str>, nth: usize, act: Act) -> Result<Self> {
        let connection = Connection::open(database)?;
        connection.busy_timeout(PATIENCE)?;
        let (watch, drops) = slow_down(&connection, own, nth)
            .with_context(|| format!("cannot slow {} down", database.display()))?;
        let (saw, seen) = watch::channel(false);
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let thread = thread::Builder::new()
            .name("slow writes".to_owned())
            .spawn(move || {
                if wait_for(&connection, &watch, nth, &ended) {
                    act();
                    saw.send_replace(true);
                }
                while !ended.load(Ordering::Relaxed) {
                    thread::sleep(LOOK_AGAIN);
                }
                let _ = connection.busy_timeout(PATIENCE);
                // The run's folder, with the database in it, may be gone.
                let _ = connection.execute_batch(&drops);
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

    /// Takes the triggers away, once the service that was in the middle of a write is gone.
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

/// Creates the counter, which it names, and the triggers, and gives what drops all.
fn slow_down(connection: &Connection, own: Option<&str>, nth: usize) -> Result<(String, String)> {
    let rows = rows_in(SLOW)?;
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name NOT LIKE 'lab %'",
    )?;
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let watch = format!("\"lab {} {nth}\"", own.unwrap_or_default());
    let mut creates = format!("CREATE TABLE {watch} AS SELECT 0 AS written;");
    let mut drops = format!("DROP TABLE IF EXISTS {watch};");
    let busy = computing(&format!(
        "CASE {nth} - (SELECT written FROM {watch}) WHEN 0 THEN {rows} WHEN 1 THEN {rows} / 3 ELSE 0 END"
    ));
    let only = own.map_or(String::new(), |own| format!("WHEN NEW.value = '{own}'"));
    let events: &[&str] = match own {
        Some(_) => &["INSERT"],
        None => &["INSERT", "UPDATE", "DELETE"],
    };
    for table in tables {
        for event in events {
            let name = format!("\"lab {table} {event} {} {nth}\"", own.unwrap_or_default());
            creates += &format!(
                "CREATE TRIGGER {name} AFTER {event} ON \"{table}\" {only} BEGIN \
                 UPDATE {watch} SET written = written + 1; {busy}; END;"
            );
            drops.insert_str(0, &format!("DROP TRIGGER IF EXISTS {name};"));
        }
    }
    // In one transaction: no row is written between two of them.
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {creates} COMMIT"))?;
    Ok((watch, drops))
}

/// A query that computes over so many rows.
fn computing(rows: &str) -> String {
    format!(
        "SELECT count(*) FROM (WITH RECURSIVE some(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM some WHERE n < {rows}) SELECT n FROM some)"
    )
}

/// How many rows take so long on this machine, when it does nothing else: the processor's time of
/// the fastest of a few measurements tells.
fn rows_in(time: Duration) -> Result<u64> {
    const SOME: u32 = 4_000;
    let connection = Connection::open_in_memory()?;
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let before = used()?;
        connection.query_row(&computing(&SOME.to_string()), [], |_| Ok(()))?;
        fastest = fastest.min(used()?.saturating_sub(before));
    }
    let each = (fastest / SOME).as_nanos().max(1);
    Ok(u64::try_from(time.as_nanos() / each)?)
}

/// Whether the `nth` row was seen under way before the watch was over.
fn wait_for(connection: &Connection, watch: &str, nth: usize, over: &AtomicBool) -> bool {
    let look =
        format!("SELECT data_version, written + 1 >= {nth} FROM {watch}, pragma_data_version");
    // The first changes with each commit of another program: the next write may begin at once.
    let both = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let commits = || connection.query_row(&look, [], both).ok();
    let (mut since, mut version) = (None, commits());
    let _ = connection.busy_timeout(Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let now: Option<(i64, bool)> = commits();
        // The row before it takes a third of that, perhaps in the same transaction.
        let is_next = now.is_some_and(|(_, next)| next);
        let sure = if is_next { SURE } else { SURE + SLOW / 3 };
        if now != version || !is_written(connection) {
            (version, since) = (now, None);
        } else if since.get_or_insert_with(Instant::now).elapsed() > sure {
            return true;
        }
        thread::sleep(LOOK_AGAIN);
    }
    false
}

/// Whether another program is writing.
fn is_written(connection: &Connection) -> bool {
    let begun = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
    begun.is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}
