//! Measures what the live board costs the services: one program publishes and consumes directly at the
//! broker, through the relay, with the board behind the relay, and with a page open besides, in turn. The
//! program is built for release; relay and board as for every student.

use std::path::Path;
use std::pin::pin;
use std::process::{ExitCode, Stdio};

use anstream::println;
use anyhow::{Context, Result};
use board::Ask;
use board::feed::{EVERY, Feed};
use board::server::Listening;
use course::paths::Paths;
use process::stop::Ended;
use process::{Group, on_path};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use wiretap::{Journal, Wiretap};

use super::measured_program::{MeasuredProgram, VHOST, measured};
use super::relay_cost::{figures, median};
use super::{machine, say};

/// The rate that is offered, in messages a second, and for how many messages.
const OFFERED: (u32, u32) = (5_000, 20_000);
/// How many messages go through as fast as they can.
const UNBOUNDED: u32 = 30_000;

/// What stands between the program and the broker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Relay,
    Closed,
    Open,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Direct, "direct"),
    (Way::Relay, "through the relay"),
    (Way::Closed, "with the board, no page open"),
    (Way::Open, "with the board, a page open"),
];

/// Measures all ways `runs` times in turn and prints the table.
pub fn run(paths: &Paths, runs: u32) -> Result<ExitCode> {
    let work = async |program: &MeasuredProgram| measure_all(program, runs).await;
    match measured(paths, "bench", work)? {
        Ended::Done((rates, broker)) => {
            let page = browser().unwrap_or("a reader of the stream, as no browser is on PATH");
            println!(
                "Medians of {runs} runs, {broker}, {}, page in {page}:\n",
                machine()
            );
            print(&rates);
            Ok(ExitCode::SUCCESS)
        }
        Ended::Stopped(code) => Ok(code),
    }
}

/// By way: the rates with an offered one, and without.
type Rates = [[Vec<f64>; 2]; WAYS.len()];

async fn measure_all(program: &MeasuredProgram, runs: u32) -> Result<Rates> {
    let mut rates = Rates::default();
    for run in 1..=runs {
        for ((way, name), rates) in WAYS.into_iter().zip(&mut rates) {
            say(&format!("run {run} of {runs}: {name}"));
            let (rate, count) = OFFERED;
            rates[0].push(measure(program, way, count, Some(rate)).await?);
            rates[1].push(measure(program, way, UNBOUNDED, None).await?);
        }
    }
    Ok(rates)
}

async fn measure(
    program: &MeasuredProgram,
    way: Way,
    count: u32,
    rate: Option<u32>,
) -> Result<f64> {
    let journal = Journal::create(&program.dir, "bench", "board", 0)?;
    let address = &program.broker().address;
    let tap = Wiretap::open("load", &address.host, address.port, &journal).await?;
    let url = match way {
        Way::Direct => address.url(VHOST),
        _ => address.at("127.0.0.1", tap.port()).url(VHOST),
    };
    let mut words = vec![
        "load".to_owned(),
        "flow".to_owned(),
        "--count".to_owned(),
        count.to_string(),
    ];
    words.extend(
        rate.iter()
            .flat_map(|rate| ["--rate".to_owned(), rate.to_string()]),
    );
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let (ready, is_ready) = oneshot::channel();
    let work = async {
        // An error means that what must be ready has failed, which ends the other branch.
        let _ = is_ready.await;
        let load = program.start(&words, &[("AMQP_URL", url)]).await?;
        figures(&load).await
    };
    let figures = match way {
        Way::Direct | Way::Relay => {
            // Its receiver is in the same function.
            let _ = ready.send(());
            work.await?
        }
        Way::Closed | Way::Open => tokio::select! {
            figures = work => figures?,
            failed = show(journal, way == Way::Open, ready) => return failed.map(|()| 0.0),
        },
    };
    let rate = figures.first().copied();
    rate.context("the program printed nothing")
}

/// Does what the board does, and opens its page if asked to. It is `ready` when the page follows. Ends only
/// when it fails.
async fn show(journal: Journal, open: bool, ready: oneshot::Sender<()>) -> Result<()> {
    let mut ready = Some(ready);
    let mut feed = Feed::new(journal, None);
    let (sender, mut asks) = mpsc::channel(1);
    let listening = Listening::open()?;
    let url = listening.url();
    let story = json!({ "token": listening.token, "says": "bench", "broker": "the bench's", "can_restart": false,
        "why_not": "", "tries": [], "runs": [] });
    let mut server = listening.serve(view::board(&story), sender, feed.updates())?;
    let profile = tempfile::tempdir()?;
    let mut page = pin!(async {
        match (open, browser()) {
            (false, _) => std::future::pending().await,
            (true, Some(browser)) => look(browser, profile.path(), &url).await,
            (true, None) => read(&url).await,
        }
    });
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            ended = &mut server => return ended.context("the board's server has ended"),
            read = &mut page => return read,
            Some(ask) = asks.recv() => if let Ask::Whole(skipped, answer) = ask {
                // A closed channel means that the page is gone.
                let _ = answer.send(feed.whole(&[], skipped));
            },
            _ = tick.tick() => {
                feed.pump(&[]);
                if !open || feed.updates().receiver_count() > 0 {
                    // An error means that the measurement has been given up.
                    let _ = ready.take().map(|ready| ready.send(()));
                }
            }
        }
    }
}

/// A browser that shows pages without a screen.
fn browser() -> Option<&'static str> {
    let known = ["chromium", "chromium-browser", "google-chrome"];
    known.into_iter().find(|name| on_path(name))
}

/// Shows the page in a browser, whose work counts, too.
async fn look(browser: &str, profile: &Path, url: &str) -> Result<()> {
    let mut command = Command::new(browser);
    command
        // It cannot build its sandbox as root, and the page is our own.
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-port=0",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = Group::spawn(&mut command)
        .context("the browser cannot be started")?
        .wait()
        .await?;
    anyhow::bail!("the browser has ended: {ended}")
}

/// Reads the stream of updates, where there is no browser.
async fn read(url: &str) -> Result<()> {
    let (host, path) = url
        .trim_start_matches("http://")
        .split_once('/')
        .context("no path")?;
    let mut stream = TcpStream::connect(host).await?;
    let ask = format!(
        "GET /events{} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        path.trim_start_matches('/')
    );
    stream.write_all(ask.as_bytes()).await?;
    let mut buffer = vec![0; 65_536];
    while stream.read(&mut buffer).await? > 0 {}
    anyhow::bail!("the stream of updates has ended")
}

fn print(rates: &Rates) {
    println!("| messages a second | direct | relay | board, closed | board, open | goal |");
    println!("|---|---|---|---|---|---|");
    let offered = format!("{} offered", OFFERED.0);
    for (number, what) in [&*offered, "as fast as they can"].into_iter().enumerate() {
        let rates = rates.each_ref().map(|way| median(&way[number]));
        let direct = rates[0];
        let cells = rates[1..]
            .iter()
            .map(|rate| format!("{rate:.0} ({:.0} %)", rate / direct * 100.0));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let goal = if number == 0 { "≥ 90 %" } else { "" };
        println!("| {what} | {direct:.0} | {cells} | {goal} |");
    }
}
