//! Reads a service's SQLite file, and locks it: a fault that keeps the service from writing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use wiretap::Journal;

/// One row that a service has recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its value.
    pub value: String,
}

/// All rows of `table`, in order of arrival; none when the file or the table does not exist yet.
///
/// # Errors
/// When the file cannot be read.
pub fn rows(path: &Path, table: &str) -> Result<Vec<Row>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let read = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        let known = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
        if connection.query_row(known, [table], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(Vec::new());
        }
        let all = format!("SELECT id, value FROM {table} ORDER BY arrival");
        connection
            .prepare(&all)?
            .query_map([], |row| {
                Ok(Row {
                    id: row.get(0)?,
                    value: row.get(1)?,
                })
            })?
            .collect()
    };
    read().with_context(|| format!("cannot read table {table} of {}", path.display()))
}

/// A write lock on a service's SQLite file, held until it is dropped.
#[derive(Debug)]
pub struct Locked {
    connection: Connection,
    role: String,
    journal: Journal,
}

impl Locked {
    pub(super) fn new(role: &str, path: &Path, journal: &Journal) -> Result<Self> {
        let connection = Connection::open(path)
            .and_then(|connection| {
                connection.busy_timeout(Duration::from_secs(2))?;
                connection.execute_batch("BEGIN IMMEDIATE")?;
                Ok(connection)
            })
            .with_context(|| format!("cannot lock {}", path.display()))?;
        journal.note(format!("database of {role} locked"));
        Ok(Self {
            connection,
            role: role.to_owned(),
            journal: journal.clone(),
        })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.journal
            .note(format!("database of {} unlocked", self.role));
        // If this fails, closing the connection releases the lock.
        let _ = self.connection.execute_batch("ROLLBACK");
    }
}
