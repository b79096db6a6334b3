//! A service's SQLite file: what is in it, and a fault of the disk that keeps it from being
//! written for a while.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use wiretap::Journal;

/// What a service has recorded of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Under which id.
    pub id: String,
    /// What it holds.
    pub value: String,
}

/// All rows of `table` in order of arrival; none when there is no such file or table yet.
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

/// Holds a service's SQLite file locked against writing, until it is dropped.
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
        // Closing the connection lets go of the lock as well, should this fail.
        let _ = self.connection.execute_batch("ROLLBACK");
    }
}
