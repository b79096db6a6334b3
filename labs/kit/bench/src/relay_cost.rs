//! Measures what the wiretap costs: one program runs through it and directly at the broker, in
//! turn. The program is built for release and the relay as for every check, so this is the
//! relay's worst case.

use anyhow::Result;

use super::chart::{Axis, Chart, Line, Places, Scale, joined, measured_lines};
use super::measured_program::MeasuredProgram;
use super::session::Session;

const WAYS: [&str; 2] = ["direct", "through the relay"];

/// How often a call passes the relay: request to the broker, request to the server, reply to the
/// broker, reply to the client.
const CROSSINGS: f64 = 4.0;
/// The most that a crossing should add, in microseconds: half of the times, and 99 of 100.
const GOALS: [f64; 2] = [50.0, 150.0];
/// The least share of the messages a second that should be left, in percent.
const GOAL: f64 = 85.0;

/// Measures calls, then publishing and consuming.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    calls(session).await?;
    rates(session).await
}

async fn calls(session: &mut Session<'_>) -> Result<()> {
    let program = session.program;
    let runs = session.effort.pick(1, 4);
    let one = Places::named("calls", &["one at a time"]);
    let [half, most] = measured_lines(&WAYS, &one, runs, async |way, _| {
        Ok(Some(
            run::<2>(program, "call --count 2000", way == 1).await?,
        ))
    })
    .await?;
    let lines = joined(half, most);
    let places = Places::named("a call over two queues", &["p50", "p99"]);
    let each = [0, 1].map(|figure| (at(&lines[1], figure) - at(&lines[0], figure)) / CROSSINGS);
    let note = format!(
        "A call crosses the relay {CROSSINGS} times. A crossing adds {:.0} µs to half of the calls (goal: at most {}), \
         {:.0} µs to 99 of 100 (at most {}).",
        each[0], GOALS[0], each[1], GOALS[1]
    );
    session.keep(Chart {
        name: "relay-calls".to_owned(),
        title: "What does the wiretap add to a call?".to_owned(),
        x: places.axis,
        y: Axis::new("µs", Scale::Linear),
        lines,
        note,
    })
}

async fn rates(session: &mut Session<'_>) -> Result<()> {
    let program = session.program;
    let effort = session.effort;
    let count = effort.pick(20_000, 30_000);
    // In this order: what is published is then consumed.
    let places = Places::named("one program", &["published", "consumed"]);
    let [lines] = measured_lines(&WAYS, &places, effort.pick(1, 4), async |way, place| {
        let work = if place == 0 { "publish" } else { "consume" };
        let work = format!("{work} --count {count}");
        let [rate, _] = run(program, &work, way == 1).await?;
        Ok(Some([rate]))
    })
    .await?;
    let left = [0, 1].map(|figure| at(&lines[1], figure) / at(&lines[0], figure) * 100.0);
    session.keep(Chart {
        name: "relay-rate".to_owned(),
        title: "How many messages a second pass the wiretap?".to_owned(),
        x: places.axis,
        y: Axis::new("messages a second", Scale::Linear),
        lines,
        note: format!(
            "1 kB, 256 confirms in flight, prefetch 256, an ack for 64. Through the relay {:.0} % are published and \
             {:.0} % consumed (goal: {GOAL} %).",
            left[0], left[1]
        ),
    })
}

fn at(line: &Line, place: usize) -> f64 {
    line.points.get(place).map_or(0.0, |point| point.y)
}

/// Runs the load program, directly at the broker or through the relay.
async fn run<const K: usize>(
    program: &MeasuredProgram,
    work: &str,
    relayed: bool,
) -> Result<[f64; K]> {
    if !relayed {
        return program.load(work, None).await;
    }
    let (_tap, _journal, url) = program.tap().await?;
    program.load(work, Some(url)).await
}
