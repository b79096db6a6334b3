//! Offers HTTP requests at a rate, whether or not the earlier ones are answered (an open loop), or so
//! many at once (a closed loop). A request's time begins when it is due: a stall counts for all that
//! should have been made meanwhile.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use awc::{Client, Connector};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::percentile;

/// How long answers may come after the last request was due. What has no answer then took that long.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same gaps in every run.
const SEED: u64 = 17;

#[derive(Debug, clap::Args)]
pub struct Args {
    url: String,
    /// How many requests are offered a second, at random times
    #[arg(long, conflicts_with = "at_once")]
    rate: Option<f64>,
    /// How many requests are under way all the time
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    #[arg(long)]
    seconds: f64,
}

/// Makes the requests, and gives p50, p99 and p99.9 in microseconds, and how many were answered a second.
pub fn run(args: Args) -> Result<String> {
    actix_web::rt::System::new().block_on(async {
        let time = Duration::from_secs_f64(args.seconds);
        let begun = Instant::now();
        let mut times = match args.rate {
            Some(rate) => open_loop(&args.url, rate, time).await?,
            None => closed_loop(&args.url, args.at_once, time).await?,
        };
        times.sort();
        let answered = times.partition_point(|time| *time < PATIENCE);
        ensure!(answered > 0, "nothing is answered at {}", args.url);
        let kept = answered as f64 / begun.elapsed().max(time).as_secs_f64();
        // Of random times there are more or fewer than the rate says.
        let made = times.len() as f64 / args.seconds;
        let rate = args.rate.map_or(kept, |rate| rate * kept / made);
        let at = |part| percentile(&times, part).as_secs_f64() * 1e6;
        Ok(format!(
            "{:.1} {:.1} {:.1} {rate:.1}",
            at(0.5),
            at(0.99),
            at(0.999)
        ))
    })
}

fn client() -> Client {
    let connector = Connector::new().limit(500).timeout(PATIENCE);
    Client::builder()
        .connector(connector)
        .timeout(PATIENCE * 10)
        .finish()
}

async fn open_loop(url: &str, rate: f64, time: Duration) -> Result<Vec<Duration>> {
    let (tell, mut due) = mpsc::unbounded_channel();
    // A thread, because tokio's clock counts whole milliseconds.
    let pacer = thread::spawn(move || pace(rate, time, &tell));
    let (client, url) = (client(), Rc::<str>::from(url));
    let mut calls = JoinSet::new();
    let mut last = Instant::now();
    while let Some(at) = due.recv().await {
        last = at;
        let (client, url) = (client.clone(), url.clone());
        calls.spawn_local(async move { call(&client, &url).await.map(|()| at.elapsed()) });
    }
    pacer
        .join()
        .map_err(|_| anyhow!("the pacer has panicked"))?;
    let mut times = Vec::new();
    let end = (last + PATIENCE).into();
    while let Ok(Some(call)) = timeout_at(end, calls.join_next()).await {
        // What is refused under load is not answered.
        times.push(call?.unwrap_or(PATIENCE));
    }
    times.extend(std::iter::repeat_n(PATIENCE, calls.len()));
    Ok(times)
}

/// Tells when each request is due: the gaps are those of independent callers.
fn pace(rate: f64, time: Duration, tell: &mpsc::UnboundedSender<Instant>) {
    let mut random = SmallRng::seed_from_u64(SEED);
    let begun = Instant::now();
    let mut due = begun;
    loop {
        due += Duration::from_secs_f64(-(1.0 - random.random::<f64>()).ln() / rate);
        if due > begun + time {
            return;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if tell.send(due).is_err() {
            return;
        }
    }
}

async fn closed_loop(url: &str, at_once: usize, time: Duration) -> Result<Vec<Duration>> {
    let mut callers = JoinSet::new();
    let end = Instant::now() + time;
    for _ in 0..at_once {
        let url = url.to_owned();
        callers.spawn_local(async move {
            let client = client(); // one connection, kept
            let mut times = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                call(&client, &url).await?;
                times.push(begun.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(caller) = callers.join_next().await {
        times.extend(caller??);
    }
    Ok(times)
}

async fn call(client: &Client, url: &str) -> Result<()> {
    let answer = client.get(url).send().await;
    let mut answer = answer.map_err(|error| anyhow!("GET {url}: {error}"))?;
    let status = answer.status();
    ensure!(status.is_success(), "GET {url}: {status}");
    answer.body().await.context("no body")?;
    Ok(())
}
