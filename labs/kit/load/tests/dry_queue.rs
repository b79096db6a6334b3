//! A consumer that is faster than the bench thought has emptied the queue before its time is over.

use anyhow::{Context, Result, ensure};
use broker::Broker;
use course::paths::Paths;
use libtest_mimic::Arguments;
use proof::{soon, trial};
use tokio::process::Command;

const VHOST: &str = "load-dry-queue";

fn main() {
    // The broker's keeper is this very program.
    broker::dispatch();
    let trials = vec![trial("ends_on_time", ends_on_time)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

async fn ends_on_time() -> Result<()> {
    let broker = Broker::acquire(&Paths::find()?, &|_| ()).await?;
    broker.delete_vhost(VHOST).await?;
    broker.create_vhost(VHOST).await?;
    load(&broker, "publish --count 1000").await?;
    let told = load(
        &broker,
        "consume --prefetch 300 --ack-every 100 --seconds 2",
    )
    .await?;
    let (rate, settled) = told.split_once(' ').context("two figures")?;
    ensure!(settled == "1000", "{told}");
    // Over the whole two seconds it would be 500: the silence after the last message does not count.
    ensure!(rate.parse::<f64>()? > 501.0, "{told}");
    broker.delete_vhost(VHOST).await?;
    Ok(())
}

/// Runs the load program to its end, and gives what it printed.
async fn load(broker: &Broker, work: &str) -> Result<String> {
    let mut load = Command::new(env!("CARGO_BIN_EXE_load"));
    load.args(work.split(' '))
        .env("AMQP_URL", broker.address.url(VHOST))
        .kill_on_drop(true);
    let output = soon(work, load.output()).await??;
    ensure!(output.status.success(), "load {work}: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
