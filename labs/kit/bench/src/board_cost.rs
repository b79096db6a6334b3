//! Measures what the live board costs the services: one program publishes and consumes directly at the
//! broker, through the relay, with the board behind the relay, and with a page open besides, in turn. The
//! program is built for release; relay and board as for every student.

use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result};
use board::Ask;
use board::feed::{EVERY, Feed};
use board::server::Door;
use course::paths::Paths;
use process::stop::{Ended, until_stopped};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use wiretap::{Journal, Wiretap};

use super::measured_program::{MeasuredProgram, VHOST};
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
    let work = async {
        let program = MeasuredProgram::build(paths, "bench").await?;
        let measured = measure_all(&program, runs).await;
        let broker = program.broker().version.clone();
        program.remove_vhost().await?;
        Ok((measured?, broker))
    };
    match until_stopped(work)? {
        Ended::Done((measured, broker)) => {
            println!("Medians of {runs} runs, {broker}, {}:\n", machine());
            print(&measured);
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
    let load = program.start(&words, &[("AMQP_URL", url)]).await?;
    let figures = match way {
        Way::Direct | Way::Relay => figures(&load).await?,
        Way::Closed | Way::Open => tokio::select! {
            figures = figures(&load) => figures?,
            failed = show(journal, way == Way::Open) => return failed.map(|()| 0.0),
        },
    };
    figures
        .first()
        .copied()
        .context("the program printed nothing")
}

/// Does what the board does, and reads its page where one is open. Ends only when it fails.
async fn show(journal: Journal, open: bool) -> Result<()> {
    let mut feed = Feed::new(journal, None);
    let (sender, mut asks) = mpsc::channel(1);
    let door = Door::open()?;
    let url = door.url();
    let mut server = door.serve(String::new(), sender, feed.updates())?;
    let mut page = std::pin::pin!(async {
        match open {
            true => read(&url).await,
            false => std::future::pending().await,
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
            _ = tick.tick() => feed.pump(&[]),
        }
    }
}

/// Reads the stream of updates, as a page does.
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
