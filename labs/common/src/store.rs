//! A small SQLite store: rows with an id and a text, each id once, in order of arrival.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::settings;

/// How long a write waits while another program has the file locked.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait between two tries to open a file.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One recorded row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key: a second row with the same id changes nothing.
    pub id: String,
    /// The content: a path, a name.
    pub value: String,
}

/// One table of one SQLite file. Clones share the connection.
///
/// SQLite blocks, so its work runs on tokio's blocking threads. The mutex is an async one, and we
/// lock it before we take such a thread: a hundred requests at once wait as a hundred futures,
/// not as a hundred threads.
#[derive(Debug, Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    place: Arc<str>,
    table: &'static str,
}

impl Store {
    /// Opens the file at `path`, and creates it and `table` (lower-case letters and `_`) where they
    /// don't exist. `DATABASE_TIMEOUT_MS` (default 1000) is how long a write waits for a lock.
    ///
    /// # Errors
    /// When SQLite cannot open or write the file; the error names it.
    pub async fn open(path: &Path, table: &'static str) -> Result<Self> {
        ensure!(
            !table.is_empty() && table.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{table:?} is not a name for a table: use lower-case letters and _"
        );
        let patience = settings::millis("DATABASE_TIMEOUT_MS", PATIENCE)?;
        let place: Arc<str> = path.display().to_string().into();
        let path = path.to_owned();
        let connection = spawn_blocking(move || create(&path, table, patience))
            .await?
            .with_context(|| format!("cannot use the database {place} (see DATABASE)"))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            place,
            table,
        })
    }

    /// Records `value` under `id`, and returns when that is committed: `true` for a new id, `false`
    /// for an id that exists already, which keeps its first value.
    ///
    /// # Errors
    /// When the file cannot be written; nothing is recorded then.
    pub async fn record(&self, id: &str, value: &str) -> Result<bool> {
        let row = Row {
            id: id.to_owned(),
            value: value.to_owned(),
        };
        Ok(self.record_all(vec![row]).await? == 1)
    }

    /// Records all `rows` in one transaction, and returns when it is committed: how many ids are
    /// new. An id that exists already keeps its first value.
    ///
    /// # Errors
    /// When the file cannot be written; none of them is recorded then.
    pub async fn record_all(&self, rows: Vec<Row>) -> Result<usize> {
        let sql = format!(
            "INSERT INTO {} (id, value) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
            self.table
        );
        self.run(move |connection| insert(connection, &sql, rows))
            .await
            .with_context(|| format!("cannot write to the database {}", self.place))
    }

    /// At most `limit` rows in order of arrival, the first `skip` left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn list(&self, skip: u32, limit: u32) -> Result<Vec<Row>> {
        let sql = format!(
            "SELECT id, value FROM {} ORDER BY arrival LIMIT ?1 OFFSET ?2",
            self.table
        );
        self.run(move |connection| {
            connection
                .prepare_cached(&sql)?
                .query_map((limit, skip), |row| {
                    Ok(Row {
                        id: row.get(0)?,
                        value: row.get(1)?,
                    })
                })?
                .collect()
        })
        .await
        .with_context(|| format!("cannot read the database {}", self.place))
    }

    /// The recorded values, each with the number of ids that have it; the most frequent first,
    /// then by value; at most `limit` of them, the first `skip` left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn most_frequent(&self, skip: u32, limit: u32) -> Result<Vec<(String, u64)>> {
        let sql = format!(
            "SELECT value, count(*) FROM {} GROUP BY value
             ORDER BY count(*) DESC, value LIMIT ?1 OFFSET ?2",
            self.table
        );
        self.run(move |connection| {
            connection
                .prepare_cached(&sql)?
                .query_map((limit, skip), |row| {
                    Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
                })?
                .collect()
        })
        .await
        .with_context(|| format!("cannot read the database {}", self.place))
    }

    /// Runs `work` on a thread that may block. The work runs to its end even if the caller drops
    /// this future, so no caller leaves half a write.
    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection).lock_owned().await;
        Ok(spawn_blocking(move || work(&connection)).await??)
    }
}

fn insert(connection: &Connection, sql: &str, rows: Vec<Row>) -> rusqlite::Result<usize> {
    // Immediate: it waits for other writers at its start, before it writes a row.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut new = 0;
    for row in rows {
        let mut statement = transaction.prepare_cached(sql)?;
        new += statement.execute((row.id, row.value))?;
    }
    transaction.commit()?;
    Ok(new)
}

/// Switches to the write-ahead log. SQLite does not wait for another program that switches the same new
/// file at that moment (3.51, 2026-11-26), so we do.
fn write_ahead(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && began.elapsed() < patience => sleep(LOOK_AGAIN),
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn create(path: &Path, table: &str, patience: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(patience)?;
    // With the write-ahead log a commit is one append. `synchronous = FULL` syncs each commit to
    // the disk, so a committed row survives a power cut as well as a `kill -9`. NORMAL would be
    // faster and survive the kill, but could lose the last commits in a power cut: too little
    // for a service that answers "recorded". (Whether the disk keeps its word, we cannot see.)
    write_ahead(&connection, patience)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (
             arrival INTEGER PRIMARY KEY,
             id      TEXT NOT NULL UNIQUE,
             value   TEXT NOT NULL
         ) STRICT"
    ))?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
