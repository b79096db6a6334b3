//! A fault of the disk: a service's SQLite file that cannot be written for a while.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;

use crate::wiretap::Journal;

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
