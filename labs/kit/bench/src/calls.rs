//! Measures what a call over chapter 06's queues costs, with a reply queue and with direct
//! reply-to, at the client's HTTP port.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anstream::println;
use anyhow::{Context, Result, anyhow, ensure};
use awc::Client;
use check::Port;
use course::paths::Paths;
use process::Process;
use tokio::task::JoinSet;

use super::measured_program::{MeasuredProgram, TIME_LIMIT, measured};
use super::{machine, median, percentile, say};
use process::stop::Ended;

const QUEUE: &str = "rpc_queue";

/// How often to try whether both programs are ready.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How many calls are made before any is measured.
const WARM_UP: usize = 200;

/// How many calls are measured each time.
const CALLS: usize = 3000;

/// One way to call.
struct Way {
    what: &'static str,
    path: &'static str,
    reply_to: &'static str,
    at_once: usize,
}

const WAYS: [Way; 5] = [
    Way {
        what: "HTTP alone (`/health`), one at a time",
        path: "/health",
        reply_to: "queue",
        at_once: 1,
    },
    Way {
        what: "reply queue, one at a time",
        path: "/users/10",
        reply_to: "queue",
        at_once: 1,
    },
    Way {
        what: "direct reply-to, one at a time",
        path: "/users/10",
        reply_to: "direct",
        at_once: 1,
    },
    Way {
        what: "reply queue, 50 at once",
        path: "/users/10",
        reply_to: "queue",
        at_once: 50,
    },
    Way {
        what: "direct reply-to, 50 at once",
        path: "/users/10",
        reply_to: "direct",
        at_once: 50,
    },
];

/// What was measured in all runs.
#[derive(Clone, Default)]
struct Measured {
    calls: Vec<Duration>,
    runs: Vec<Duration>,
}

/// Measures each way `runs` times, one after the other, and prints the table.
pub fn run(paths: &Paths, runs: u32) -> Result<ExitCode> {
    let work = async |program: &MeasuredProgram| measure_all(program, runs).await;
    match measured(paths, "solution-06", work)? {
        Ended::Done((measured, _)) => {
            print(&measured, runs);
            Ok(ExitCode::SUCCESS)
        }
        Ended::Stopped(code) => Ok(code),
    }
}

async fn measure_all(program: &MeasuredProgram, runs: u32) -> Result<Vec<Measured>> {
    let mut measured = vec![Measured::default(); WAYS.len()];
    for run in 1..=runs {
        for (way, measured) in WAYS.iter().zip(&mut measured) {
            say(&format!("run {run} of {runs}: {}", way.what));
            measure(program, way, measured).await?;
        }
    }
    Ok(measured)
}

async fn measure(program: &MeasuredProgram, way: &Way, measured: &mut Measured) -> Result<()> {
    let server = program.start(&["user-service"], &[]).await?;
    let port = Port::claim()?;
    let settings = [
        ("PORT", port.number().to_string()),
        ("REPLY_TO", way.reply_to.to_owned()),
    ];
    let client = program.start(&["user-client"], &settings).await?;
    let base = format!("http://127.0.0.1:{}", port.number());
    wait_until_ready(program, &base, [&server, &client]).await?;

    let url = format!("{base}{}", way.path);
    make_calls(&url, way.at_once, WARM_UP).await?;
    let begun = Instant::now();
    let times = make_calls(&url, way.at_once, CALLS).await?;
    measured.runs.push(begun.elapsed());
    measured.calls.extend(times);
    client.kill().await?;
    server.kill().await?;
    Ok(())
}

/// Waits until a call is answered.
async fn wait_until_ready(
    program: &MeasuredProgram,
    base: &str,
    programs: [&Process; 2],
) -> Result<()> {
    let begun = Instant::now();
    let url = format!("{base}/users/10");
    while program.consumers(QUEUE).await? == 0 || call(&Client::default(), &url).await.is_err() {
        if let Some(exit) = programs.iter().find_map(|started| started.ended()) {
            return Err(anyhow!("ended with {exit}; see {}", program.dir.display()));
        }
        ensure!(begun.elapsed() < TIME_LIMIT, "no call is answered");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Makes `count` calls, `at_once` at a time, and returns how long each took.
async fn make_calls(url: &str, at_once: usize, count: usize) -> Result<Vec<Duration>> {
    let mut callers = JoinSet::new();
    for _ in 0..at_once {
        let url = url.to_owned();
        callers.spawn_local(async move {
            let client = Client::default(); // one connection, kept
            let mut times = Vec::new();
            for _ in 0..count / at_once {
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
    ensure!(
        answer.status().is_success(),
        "GET {url}: {}",
        answer.status()
    );
    answer.body().await.context("no body")?;
    Ok(())
}

fn print(measured: &[Measured], runs: u32) {
    println!("{runs} runs of {CALLS} calls, on {}:\n", machine());
    println!("| a call, at the client's HTTP port | p50, ms | p99, ms | calls a second |");
    println!("|---|---|---|---|");
    for (way, measured) in WAYS.iter().zip(measured) {
        let mut calls = measured.calls.clone();
        calls.sort();
        let at = |part| percentile(&calls, part).as_secs_f64() * 1000.0;
        let rate = CALLS as f64 / median(&measured.runs).as_secs_f64();
        println!(
            "| {} | {:.2} | {:.2} | {rate:.0} |",
            way.what,
            at(50),
            at(99)
        );
    }
}
