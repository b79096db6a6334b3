//! Measures what the wiretap costs: one program runs through it and directly at the broker, in
//! turn. The program is built for release and the relay as for every check, so this is the
//! relay's worst case.

use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result, ensure};
use course::paths::Paths;
use process::{Exit, Process};
use wiretap::{Journal, Wiretap};

use super::measured_program::{MeasuredProgram, TIME_LIMIT, VHOST, measured};
use super::{machine, say};
use process::stop::Ended;

/// What the program does in a run, in this order, and how many times.
const WORK: [(&str, u32); 3] = [("call", 2_000), ("publish", 30_000), ("consume", 30_000)];

/// How often a call passes the relay: request to the broker, request to the server, reply to the
/// broker, reply to the client.
const CROSSINGS: f64 = 4.0;

/// What was measured of one way: a figure for each run.
#[derive(Default)]
struct Measured {
    /// In microseconds.
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Messages a second.
    publish: Vec<f64>,
    consume: Vec<f64>,
}

/// Measures both ways `runs` times in turn and prints the table.
pub fn run(paths: &Paths, runs: u32) -> Result<ExitCode> {
    let work = async |program: &MeasuredProgram| measure_all(program, runs).await;
    match measured(paths, "bench", work)? {
        Ended::Done(([direct, relayed], broker)) => {
            println!("Medians of {runs} runs, {broker}, {}:\n", machine());
            print(&direct, &relayed);
            Ok(ExitCode::SUCCESS)
        }
        Ended::Stopped(code) => Ok(code),
    }
}

async fn measure_all(program: &MeasuredProgram, runs: u32) -> Result<[Measured; 2]> {
    let [mut direct, mut relayed] = [Measured::default(), Measured::default()];
    for run in 1..=runs {
        for (way, through, measured) in [
            ("direct", false, &mut direct),
            ("through the relay", true, &mut relayed),
        ] {
            say(&format!("run {run} of {runs}: {way}"));
            measure(program, through, measured).await?;
        }
    }
    Ok([direct, relayed])
}

async fn measure(program: &MeasuredProgram, through: bool, measured: &mut Measured) -> Result<()> {
    for (work, count) in WORK {
        // An empty journal for each, as each check has.
        let journal = Journal::create(&program.dir, "bench", work, 0)?;
        let address = &program.broker().address;
        let tap = Wiretap::open("load", &address.host, address.port, &journal).await?;
        let url = match through {
            true => address.at("127.0.0.1", tap.port()).url(VHOST),
            false => address.url(VHOST),
        };
        let count = count.to_string();
        let load = ["load", work, "--count", &count];
        let load = program.start(&load, &[("AMQP_URL", url)]).await?;
        let figures = figures(&load).await?;
        match (work, figures.as_slice()) {
            ("call", &[p50, p99]) => {
                measured.p50.push(p50);
                measured.p99.push(p99);
            }
            ("publish", &[rate]) => measured.publish.push(rate),
            ("consume", &[rate]) => measured.consume.push(rate),
            (_, told) => anyhow::bail!("{work} printed {told:?}"),
        }
    }
    Ok(())
}

/// What the program prints at its end.
pub async fn figures(load: &Process) -> Result<Vec<f64>> {
    let exit = load.end(TIME_LIMIT).await?;
    let told = load.output();
    ensure!(
        exit == Exit::Code(0),
        "the program ended with {exit}: {told}"
    );
    let told = told.lines().last().unwrap_or_default();
    let figures = told.split(' ').map(|figure| {
        let figure = figure.parse();
        figure.with_context(|| format!("it printed {told:?}"))
    });
    figures.collect()
}

fn print(direct: &Measured, relayed: &Measured) {
    println!("| one program | direct | relayed | the relay | goal |");
    println!("|---|---|---|---|---|");
    for (what, direct, relayed, goal) in [
        ("p50", &direct.p50, &relayed.p50, 50),
        ("p99", &direct.p99, &relayed.p99, 150),
    ] {
        let (direct, relayed) = (median(direct), median(relayed));
        let each = (relayed - direct) / CROSSINGS;
        println!(
            "| a call, {what}, µs | {direct:.0} | {relayed:.0} | \
                +{each:.0} a crossing, of {CROSSINGS} | ≤ {goal} |"
        );
    }
    for (what, direct, relayed) in [
        (
            "published a second, 256 in flight",
            &direct.publish,
            &relayed.publish,
        ),
        ("consumed a second", &direct.consume, &relayed.consume),
    ] {
        let (direct, relayed) = (median(direct), median(relayed));
        let part = relayed / direct * 100.0;
        println!("| {what} | {direct:.0} | {relayed:.0} | {part:.0} % | ≥ 85 % |");
    }
}

pub fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}
