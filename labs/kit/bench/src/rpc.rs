//! Measures how long a call takes, over chapter 06's queues and over HTTP alone, at the client's HTTP port.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use check::Port;
use process::Process;

use super::chart::{Axis, Chart, Line, Places, Point, Scale, measured_lines, number};
use super::measured_program::{MeasuredProgram, TIME_LIMIT};
use super::session::Session;

const QUEUE: &str = "rpc_queue";
/// How often to try whether all programs are ready.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The ways to call: a name, what is asked, and which client is asked.
const WAYS: [(&str, &str, usize); 3] = [
    ("HTTP alone", "/health", 0),
    ("reply queue", "/users/10", 0),
    ("direct reply-to", "/users/10", 1),
];
/// How many calls are under way at once, where the next begins when one is answered.
const AT_ONCE: [(&str, u32); 2] = [("one at a time", 1), ("50 at once", 50)];
/// A way that answers less of what is offered is not asked for more.
const KEEPS_UP: f64 = 0.9;

/// p50, p99 and p99.9 in milliseconds, and how many calls were answered a second.
type Figures = [f64; 4];

/// Chapter 06's server, and a client for each kind of reply.
struct Services {
    bases: [String; 2],
    running: [Process; 3],
}

/// Measures all ways at loads that are offered, then with so many calls at once.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    let services = Services::start(session.program).await?;
    offered(session, &services).await?;
    at_once(session, &services).await
}

async fn offered(session: &mut Session<'_>, services: &Services) -> Result<()> {
    let effort = session.effort;
    let loads: &[f64] = effort.pick(
        &[200.0, 800.0, 3200.0],
        &[
            100.0, 200.0, 400.0, 800.0, 1200.0, 1600.0, 2400.0, 3200.0, 4800.0,
        ],
    );
    let seconds = effort.pick(1.5, 2.0);
    let program = session.program;
    let limits = WAYS.map(|_| Cell::new(f64::MAX));
    let names = WAYS.map(|(name, ..)| name);
    let places = Places::new("calls offered a second", Scale::Log, loads);
    let [p50, p99, p999, answered] =
        measured_lines(&names, &places, effort.pick(1, 2), async |way, place| {
            let load = loads[place];
            if load > limits[way].get() {
                return Ok(None);
            }
            let how = format!("--rate {load}");
            let figures = services.ask(program, way, &how, seconds).await?;
            if figures[3] < KEEPS_UP * load {
                limits[way].set(load);
            }
            Ok(Some(figures))
        })
        .await?;

    let keeps_up = answered.iter().map(|line| {
        let kept = line
            .points
            .iter()
            .filter(|point| point.y >= KEEPS_UP * point.x);
        let most = kept.map(|point| point.x).fold(0.0, f64::max);
        format!("{}: {} a second", line.name, number(most))
    });
    let keeps_up = keeps_up.collect::<Vec<_>>().join(", ");
    let note = format!(
        "Calls begin at random times, whether or not the earlier ones are answered, and a call's time begins when it \
         is due. Client, server, broker and the program that offers the load share the machine. The highest load of \
         these that was answered to nine tenths: {keeps_up}."
    );
    for (name, part, lines) in [
        ("p50", "half of the calls", p50),
        ("p99", "99 of 100 calls", p99),
        ("p999", "999 of 1000 calls", p999),
    ] {
        session.keep(Chart {
            name: format!("rpc-{name}"),
            title: format!("How soon are {part} answered?"),
            x: places.axis.clone(),
            y: Axis::new("answered within, ms", Scale::Log),
            lines,
            note: String::new(),
        })?;
    }
    let mut lines = answered;
    let all = loads.iter().filter_map(|&load| Point::of(load, &[load]));
    lines.push(Line {
        name: "all".to_owned(),
        points: all.collect(),
        ideal: true,
    });
    session.keep(Chart {
        name: "rpc-answered".to_owned(),
        title: "How many of the calls that are offered are answered?".to_owned(),
        x: places.axis.clone(),
        y: Axis::new("answered a second", Scale::Log),
        lines,
        note,
    })
}

async fn at_once(session: &mut Session<'_>, services: &Services) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(1.0, 2.0);
    let names = WAYS.map(|(name, ..)| name);
    let places = Places::named("calls", &AT_ONCE.map(|(name, _)| name));
    let [p50, p99, _, rate] =
        measured_lines(&names, &places, effort.pick(1, 3), async |way, place| {
            let how = format!("--at-once {}", AT_ONCE[place].1);
            Ok(Some(services.ask(program, way, &how, seconds).await?))
        })
        .await?;
    for (name, title, y, lines) in [
        (
            "p50",
            "How long does a call take, half of them?",
            "p50, ms",
            p50,
        ),
        (
            "p99",
            "How long does a call take, 99 of 100?",
            "p99, ms",
            p99,
        ),
        (
            "rate",
            "How many calls are answered?",
            "calls a second",
            rate,
        ),
    ] {
        session.keep(Chart {
            name: format!("calls-{name}"),
            title: title.to_owned(),
            x: places.axis.clone(),
            y: Axis::new(y, Scale::Linear),
            lines,
            note: "The next call begins when one is answered.".to_owned(),
        })?;
    }
    Ok(())
}

impl Services {
    async fn start(program: &MeasuredProgram) -> Result<Self> {
        let server = program.start("solution-06", &["user-service"], &[]).await?;
        let client = async |reply_to: &str| {
            let port = Port::claim()?;
            let settings = [
                ("PORT", port.number().to_string()),
                ("REPLY_TO", reply_to.to_owned()),
            ];
            let base = format!("http://127.0.0.1:{}", port.number());
            let client = program
                .start("solution-06", &["user-client"], &settings)
                .await?;
            anyhow::Ok((base, client))
        };
        let (queue, direct) = (client("queue").await?, client("direct").await?);
        let services = Self {
            bases: [queue.0, direct.0],
            running: [server, queue.1, direct.1],
        };
        services.ready(program).await?;
        Ok(services)
    }

    /// Waits until both clients get answers, then has each make some calls that are not measured.
    async fn ready(&self, program: &MeasuredProgram) -> Result<()> {
        let begun = Instant::now();
        for base in &self.bases {
            let url = format!("{base}/users/10");
            while program.consumers(QUEUE).await? == 0 || !answers(&url).await {
                if let Some(exit) = self.running.iter().find_map(Process::ended) {
                    return Err(anyhow!("ended with {exit}; see {}", program.dir.display()));
                }
                ensure!(begun.elapsed() < TIME_LIMIT, "no call is answered");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        for way in 0..WAYS.len() {
            self.ask(program, way, "--at-once 4", 0.3).await?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        program: &MeasuredProgram,
        way: usize,
        how: &str,
        seconds: f64,
    ) -> Result<Figures> {
        let (_, path, client) = WAYS[way];
        let work = format!(
            "http {}{path} {how} --seconds {seconds}",
            self.bases[client]
        );
        let [p50, p99, p999, rate] = program.load(&work, None).await?;
        Ok([p50 / 1e3, p99 / 1e3, p999 / 1e3, rate])
    }
}

async fn answers(url: &str) -> bool {
    let answer = awc::Client::default().get(url).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
