//! Compares the table "What differs between 3.10, 4.0 and 4.3" of `labs/kit/broker/README.md` with the
//! current broker.
//!
//! A test tries each row. What it sees, in the table's own words, must be the cell in the column of the
//! broker's series. A row without a test fails, and so does a test without a row. `.ci/run` runs this
//! on all three series.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod requeue;
mod rows;
mod vhost;

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use course::paths::Paths;
use libtest_mimic::{Arguments, Failed, Trial};

use vhost::TestVhost;

const HEADING: &str = "## What differs between 3.10, 4.0 and 4.3";

/// How long a row may take: far longer than it does, so that a busy machine fails none.
const PATIENCE: Duration = Duration::from_secs(60);

/// The page that has the table.
const PAGE: &str = "labs/kit/broker/README.md";

/// The table in that page: the series of its columns, and its rows.
struct Table {
    series: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read() -> Result<Self> {
        let page = fs::read_to_string(Paths::find()?.root.join(PAGE))?;
        let section = page.split_once(HEADING);
        let (_, section) = section.with_context(|| format!("{PAGE} has no `{HEADING}`"))?;
        let cells = |line: &str| -> Vec<String> {
            let line = line.trim_matches('|');
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let lines = section.lines().skip_while(|line| !line.starts_with('|'));
        let mut lines = lines.take_while(|line| line.starts_with('|')).map(cells);
        let mut series = lines.next().context("the table has no heading")?;
        series.remove(0);
        let rows = lines.skip(1).collect();
        Ok(Self { series, rows })
    }

    /// The cell of `row` for the broker's series; `None` if the series has no column.
    fn cell(&self, row: &str, version: &str) -> Result<Option<&str>> {
        let row = self.rows.iter().find(|cells| cells[0] == row);
        let row = row.with_context(|| format!("{PAGE}'s table has no such row"))?;
        let is_it = |series: &String| version.starts_with(&format!("RabbitMQ {series}."));
        let Some(column) = self.series.iter().position(is_it) else {
            return Ok(None);
        };
        Ok(row.get(column + 1).map(String::as_str))
    }
}

fn main() {
    broker::dispatch();
    let rows = vec![
        row(
            "`basic.qos` 5 with `global`, two consumers of one channel",
            rows::global_prefetch,
        ),
        row(
            "a mandatory reply to `amq.rabbitmq.reply-to`",
            rows::mandatory_direct_reply,
        ),
        row(
            "quorum queue: `basic.reject` with requeue",
            requeue::rejected_again_and_again,
        ),
        row(
            "quorum queue: the consumer dies before its ack",
            requeue::died_again_and_again,
        ),
        row(
            "quorum queue: `basic.nack` with requeue",
            requeue::nacked_again_and_again,
        ),
        row(
            "quorum queue: where a requeued message is put",
            requeue::place,
        ),
        row(
            "quorum queue with `x-delayed-retry-type`: nacked",
            requeue::delayed_retry,
        ),
        row("a message of 17 MiB", rows::large_message),
        row(
            "a topic exchange: a binding key with three `#`",
            rows::three_hashes,
        ),
        row("an exchange of type `x-local-random`", rows::local_random),
        row(
            "a policy with `ha-mode`, mirrored classic queues",
            rows::mirrored_queues,
        ),
        row("AMQP 1.0 without a plugin", rows::amqp_1_0),
        row(
            "a client that wants frames of 4,096 bytes",
            rows::small_frames,
        ),
    ];
    let tried: BTreeSet<_> = rows.iter().map(|row| row.name().to_owned()).collect();
    let complete = Trial::test("each row of the table is tried", move || {
        let table = Table::read().map_err(|error| format!("{error:#}"))?;
        let written: BTreeSet<_> = table.rows.iter().map(|cells| cells[0].clone()).collect();
        if written == tried {
            return Ok(());
        }
        let odd: Vec<_> = written.symmetric_difference(&tried).collect();
        Err(Failed::from(format!(
            "only in {PAGE} or only here: {odd:#?}"
        )))
    });
    let trials = rows.into_iter().chain([complete]).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    let stop = async { broker::down(&paths()).await };
    actix_web::rt::System::new().block_on(stop).unwrap();
    conclusion.exit();
}

/// A separate folder, because a node of the clone may be of another series.
fn paths() -> Paths {
    let mut paths = Paths::find().unwrap();
    paths.target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("differs");
    paths
}

/// A row by its first cell, and its test, which returns what it saw in the table's words.
fn row<F>(what: &'static str, try_it: fn(TestVhost) -> F) -> Trial
where
    F: Future<Output = Result<String>> + 'static,
{
    let held = async move || {
        let test = TestVhost::new(what).await?;
        let broker = test.broker.clone();
        let seen = tokio::time::timeout(PATIENCE, try_it(test))
            .await
            .with_context(|| format!("not tried within {PATIENCE:?}"))??;
        broker.delete_vhost(what).await?;
        let table = Table::read()?;
        match table.cell(what, &broker.version)? {
            Some(cell) => ensure!(
                cell == seen,
                "{PAGE} says `{cell}`, {} does `{seen}`",
                broker.version
            ),
            None => println!("{} has no column; it does: {seen}", broker.version),
        }
        Ok::<(), anyhow::Error>(())
    };
    Trial::test(what, move || {
        let outcome = actix_web::rt::System::new().block_on(held());
        outcome.map_err(|error| Failed::from(format!("{error:#}")))
    })
}
