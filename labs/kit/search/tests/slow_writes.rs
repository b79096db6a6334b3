//! The writes of a database are slow, and the act comes in the middle of one.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use search::slow_writes::{SURE, SlowWrites};

fn write(connection: &Connection, id: u32) -> Duration {
    let began = Instant::now();
    let sql = "INSERT INTO rows (id) VALUES (?1)";
    connection.execute(sql, [id]).unwrap();
    began.elapsed()
}

#[test]
fn the_act_comes_in_the_middle_of_the_second_write() {
    let file = std::env::temp_dir().join(format!("slow-{}.sqlite", std::process::id()));
    let service = Connection::open(&file).unwrap();
    let tables = "PRAGMA journal_mode = WAL; CREATE TABLE rows (id INTEGER PRIMARY KEY)";
    service.execute_batch(tables).unwrap();
    let reader = Connection::open(&file).unwrap();
    let (tell, told) = mpsc::channel();
    let act = Box::new(move || {
        let count = "SELECT count(*) FROM rows";
        let count: u32 = reader.query_row(count, [], |row| row.get(0)).unwrap();
        tell.send(count).unwrap();
    });
    let writes = SlowWrites::at(&file, None, 2, act).unwrap();
    // On a starved machine the row before takes as long as this one.
    let starved = write(&service, 1) > SURE;
    write(&service, 2);
    let committed = told.try_recv().expect("the act comes");
    assert!(committed == 1 || starved && committed == 0, "{committed}");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(writes.end()).unwrap();
    assert!(write(&service, 3) < SURE);
    std::fs::remove_file(&file).unwrap();
}
