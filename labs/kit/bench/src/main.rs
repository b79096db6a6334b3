//! Measures, for `just bench`, how fast the lab is on this machine; each file is one measurement.
//!
//! A program of its own, built when `just bench` is first typed. It may name the chapters whose
//! solutions it measures; no crate uses it. Start reading at [`measured_program`].

mod backlog;
mod board_cost;
mod chart;
mod consume;
mod edit_loop;
mod jobs;
mod measured_program;
mod peers;
mod plot;
mod publish;
mod recovery;
mod relay_cost;
mod report;
mod routes;
mod rpc;
mod session;
mod texts;
mod used;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anstream::{eprintln, println};
use anyhow::Result;
use clap::{Parser, ValueEnum};
use course::paths::Paths;
use process::stop::Ended;

use measured_program::{MeasuredProgram, measured};
use report::Report;
use session::{Effort, Session};
use terminal::DIM;

#[derive(Debug, Parser)]
#[command(bin_name = "just bench")]
struct Cli {
    /// What to measure; without it, everything
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// For a class: few points, once, in less than two minutes; without `loop` and `board`
    #[arg(long)]
    quick: bool,
    /// Other clients of RabbitMQ beside lapin: installs them under `target/bench`
    #[arg(long)]
    peers: bool,
    /// Keep what was measured in `results.json`, and write its figures into texts and slides
    #[arg(long, conflicts_with_all = ["parts", "quick", "peers"])]
    texts: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Calls: HTTP alone, a reply queue, direct reply-to
    Rpc,
    /// Publishing: confirms in flight, kinds of queues, sizes
    Publish,
    /// Consuming: prefetch and distance, acks, several workers
    Consume,
    /// Topics and fanout: bindings, queues
    Routes,
    /// How soon messages flow again: broker killed, worker killed, link cut
    Recovery,
    /// A million jobs in a queue, and one worker
    Backlog,
    #[value(skip)]
    Peers,
    /// What the wiretap costs
    Relay,
    /// What the live board costs
    Board,
    /// How long a student waits: the loop of edit and check, the first run, the broker's start
    Loop,
}

impl Part {
    /// The packages whose programs it measures.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Rpc => &["load", "solution-06"],
            Self::Publish | Self::Consume => &["load", "solution-03"],
            Self::Recovery | Self::Backlog => &["solution-03"],
            Self::Routes | Self::Peers | Self::Relay | Self::Board => &["load"],
            Self::Loop => &[],
        }
    }

    async fn measure(self, session: &mut Session<'_>, paths: &Paths) -> Result<()> {
        session.program.begin_anew().await?;
        match self {
            Self::Rpc => rpc::measure(session).await,
            Self::Publish => publish::measure(session).await,
            Self::Consume => consume::measure(session).await,
            Self::Routes => routes::measure(session).await,
            Self::Recovery => recovery::measure(session, paths).await,
            Self::Backlog => backlog::measure(session).await,
            Self::Peers => peers::measure(session, paths).await,
            Self::Relay => relay_cost::measure(session).await,
            Self::Board => board_cost::measure(session).await,
            // It has a broker and a target folder of its own.
            Self::Loop => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    // This program is also its own helper processes, such as a service's guard.
    broker::dispatch();
    let cli = Cli::parse();
    let effort = if cli.quick {
        Effort::Quick
    } else {
        Effort::Full
    };
    let parts = chosen(&cli, effort);
    let done = match cli.texts {
        true => Paths::find()
            .and_then(|paths| texts::write(&paths))
            .map(|()| ExitCode::SUCCESS),
        false => start(&parts, effort),
    };
    done.unwrap_or_else(|error| terminal::tell(&error))
}

/// The parts that are named, or else all; the peers only when they are asked for.
fn chosen(cli: &Cli, effort: Effort) -> Vec<Part> {
    let mut parts = cli.parts.clone();
    if parts.is_empty() && !cli.peers {
        parts = Part::value_variants().to_vec();
        let long = [Part::Board, Part::Loop];
        parts.retain(|part| effort == Effort::Full || !long.contains(part));
    }
    parts.extend(cli.peers.then_some(Part::Peers));
    parts
}

fn start(parts: &[Part], effort: Effort) -> Result<ExitCode> {
    let paths = &Paths::find()?;
    let mut report = Report::open(paths.target.join("bench"))?;
    let mut code = at_broker(paths, parts, effort, &mut report)?;
    if code == ExitCode::SUCCESS && parts.contains(&Part::Loop) {
        match edit_loop::measure(paths, effort)? {
            Ended::Done((broker, chart)) => session::keep(&mut report, &broker, effort, chart)?,
            Ended::Stopped(stopped) => code = stopped,
        }
    }
    println!(
        "All figures so far, with pictures: {}",
        paths.short(&report.page())
    );
    Ok(code)
}

/// Measures what needs a broker; stopped early, it gives the code to end with.
fn at_broker(
    paths: &Paths,
    parts: &[Part],
    effort: Effort,
    report: &mut Report,
) -> Result<ExitCode> {
    let packages: BTreeSet<&str> = parts
        .iter()
        .flat_map(|part| part.packages())
        .copied()
        .collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    if packages.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let work = async |program: &MeasuredProgram| {
        let mut session = Session {
            program,
            effort,
            report,
        };
        for part in parts {
            part.measure(&mut session, paths).await?;
        }
        Ok(())
    };
    match measured(paths, &packages, work)? {
        Ended::Done(_) => Ok(ExitCode::SUCCESS),
        Ended::Stopped(code) => Ok(code),
    }
}

fn say(what: &str) {
    eprintln!("{DIM}·{DIM:#} measuring {what}");
}
