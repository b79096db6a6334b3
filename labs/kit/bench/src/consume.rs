//! Measures how many messages a second are consumed: by prefetch and distance, with consumers added, by the
//! acks of chapter 03's worker, and by how many such workers share a queue.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use process::Process;

use super::chart::{Axis, Chart, Line, Places, Point, Scale, measured_lines};
use super::jobs::{JOBS, send};
use super::measured_program::{MeasuredProgram, QUEUE, TIME_LIMIT, VHOST};
use super::session::{Effort, Session};

/// How often the queue is looked at: far shorter than a measurement, and rare enough not to
/// slow the broker down.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// More messages than any number of consumers takes in a second: a queue that runs dry meanwhile
/// makes the rate a guess.
const ENOUGH: f64 = 100_000.0;

/// How long each byte is held back, on its way to the broker and on its way back, in milliseconds. Not
/// half of one: tokio's clock counts whole ones.
const DELAYS: [u64; 4] = [0, 1, 5, 50];

/// Measures all four.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    for (name, title, multiple) in [
        (
            "consume-each",
            "How much does a prefetch help, with an ack for each message?",
            false,
        ),
        (
            "consume-multiple",
            "And with one ack for half the prefetch?",
            true,
        ),
    ] {
        prefetch(session, name, title, multiple).await?;
    }
    consumers(session).await?;
    acks(session).await?;
    workers(session).await
}

async fn prefetch(
    session: &mut Session<'_>,
    name: &str,
    title: &str,
    multiple: bool,
) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.5, 0.8);
    let names = DELAYS.map(|delay| format!("round trip {} ms", 2 * delay));
    let names = names.each_ref().map(String::as_str);
    let values: &[f64] = effort.pick(&[1.0, 30.0, 1000.0], &[1.0, 10.0, 100.0, 1000.0]);
    let places = Places::new("prefetch", Scale::Log, values);
    program.begin_anew().await?;
    let [lines] = measured_lines(&names, &places, effort.pick(1, 2), async |line, place| {
        fill(program, ENOUGH * seconds).await?;
        let prefetch = values[place];
        let every = if multiple {
            (prefetch / 2.0).ceil()
        } else {
            1.0
        };
        let (tap, _journal, url) = program.tap().await?;
        tap.delay(Duration::from_millis(DELAYS[line]));
        let work = format!("consume --prefetch {prefetch} --ack-every {every} --seconds {seconds}");
        let before = program.depth(QUEUE).await?;
        let [rate, done] = program.load(&work, Some(url)).await?;
        program
            .holds(QUEUE, before.saturating_sub(done as u64))
            .await?;
        Ok(Some([rate]))
    })
    .await?;
    session.keep(Chart {
        name: name.to_owned(),
        title: title.to_owned(),
        x: places.axis,
        y: Axis::new("consumed a second", Scale::Log),
        lines,
        note:
            "1 kB, one consumer, a classic queue. The relay of the lab stands between consumer and \
               broker and holds each byte back for half the round trip."
                .to_owned(),
    })
}

/// The broker's ceiling: where a further consumer adds nothing.
async fn consumers(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.5, 0.8);
    let counts: &[f64] = effort.pick(&[1.0, 2.0], &[1.0, 2.0, 3.0, 4.0]);
    let places = Places::new("consumers", Scale::Linear, counts);
    program.begin_anew().await?;
    let names = ["an ack each", "an ack for 64"];
    let [lines] = measured_lines(&names, &places, effort.pick(1, 3), async |line, place| {
        fill(program, ENOUGH * seconds).await?;
        let before = program.depth(QUEUE).await?;
        let every = [1, 64][line];
        let work = format!("consume --prefetch 256 --ack-every {every} --seconds {seconds}");
        let consumers = counts[place] as usize;
        let (rates, all) = program.load_together(&work, consumers).await?;
        program.holds(QUEUE, before.saturating_sub(all)).await?;
        Ok(Some([rates]))
    })
    .await?;
    session.keep(Chart {
        name: "consume-consumers".to_owned(),
        title: "How many messages a second does the broker give to several consumers?".to_owned(),
        x: places.axis,
        y: Axis::new("consumed a second", Scale::Linear),
        lines,
        note: "1 kB, a prefetch of 256 each, one classic queue.".to_owned(),
    })
}

/// Sees to it that the queue has so many messages.
async fn fill(program: &MeasuredProgram, enough: f64) -> Result<()> {
    let there = match program.broker().queue(VHOST, QUEUE).await? {
        Some(queue) => (queue.ready + queue.unacked) as f64,
        None => 0.0,
    };
    if there < enough {
        let work = format!("publish --count {}", enough - there);
        program.load::<2>(&work, None).await?;
    }
    Ok(())
}

/// A way of chapter 03's worker to settle jobs. A whole measurement has so many jobs that it takes a second or more.
struct Way {
    name: &'static str,
    jobs: u32,
    batch: &'static str,
    on_disk: bool,
}

const fn way(name: &'static str, jobs: u32, batch: &'static str, on_disk: bool) -> Way {
    Way {
        name,
        jobs,
        batch,
        on_disk,
    }
}

const WAYS: [Way; 4] = [
    way("on disk, 1", 3_000, "1", true),
    way("on disk, 64", 30_000, "64", true),
    way("in memory, 1", 30_000, "1", false),
    way("in memory, 64", 60_000, "64", false),
];

async fn acks(session: &mut Session<'_>) -> Result<()> {
    let program = session.program;
    program.begin_anew().await?;
    let label = "rows, and jobs of a commit and an ack";
    let places = Places::named(label, &WAYS.map(|way| way.name));
    let effort = session.effort;
    let [lines] = measured_lines(
        &["jobs a second"],
        &places,
        effort.pick(1, 3),
        async |_, place| {
            let way = &WAYS[place];
            let jobs = way.jobs / effort.pick(4, 1);
            let time = drain(program, way, jobs).await?;
            Ok(Some([f64::from(jobs) / time.as_secs_f64()]))
        },
    )
    .await?;
    session.keep(Chart {
        name: "acks".to_owned(),
        title: "What do an ack and a commit for each job cost?".to_owned(),
        x: places.axis,
        y: Axis::new("jobs a second", Scale::Linear),
        lines,
        note: "One worker of chapter 03 with a prefetch of 128, empty jobs.".to_owned(),
    })
}

/// How long one worker takes for so many jobs, its start included.
async fn drain(program: &MeasuredProgram, way: &Way, jobs: u32) -> Result<Duration> {
    send(program, jobs, "").await?;
    let database = match way.on_disk {
        true => program.fresh_database()?,
        false => ":memory:".to_owned(),
    };
    let work = ["worker", "bench", "--prefetch", "128", "--batch", way.batch];
    let worker = program
        .start("solution-03", &work, &[("DATABASE", database)])
        .await?;
    let begun = Instant::now();
    while program.depth(JOBS).await? > 0 {
        look(program, begun, [&worker]).await?;
    }
    let time = begun.elapsed();
    worker.kill().await?;
    Ok(time)
}

async fn workers(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let units: &[u64] = effort.pick(&[10], &[0, 1, 10]);
    let names: Vec<String> = units
        .iter()
        .map(|unit| format!("jobs of {unit} ms"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let counts: &[f64] = effort.pick(&[1.0, 4.0], &[1.0, 2.0, 4.0, 8.0, 16.0]);
    let places = Places::new("workers of chapter 03", Scale::Linear, counts);
    let [mut lines] = measured_lines(&names, &places, effort.pick(1, 2), async |line, place| {
        let count = counts[place] as usize;
        Ok(Some([shared(program, units[line], count, effort).await?]))
    })
    .await?;
    for line in &mut lines {
        let one = line.points.first().map_or(1.0, |point| point.y);
        for point in &mut line.points {
            *point = Point {
                y: point.y / one,
                low: point.low / one,
                high: point.high / one,
                ..*point
            };
        }
    }
    let ideal = counts
        .iter()
        .filter_map(|&count| Point::of(count, &[count]));
    lines.push(Line {
        name: "ideal".to_owned(),
        points: ideal.collect(),
        ideal: true,
    });
    session.keep(Chart {
        name: "workers".to_owned(),
        title: "How much faster are several workers than one?".to_owned(),
        x: places.axis,
        y: Axis::new("times as fast as one", Scale::Linear),
        lines,
        note: "Prefetch 10, rows in memory, an ack for each job. All workers and the broker share the machine.".to_owned(),
    })
}

/// How many jobs a second so many workers do together, from when all of them have begun.
async fn shared(program: &MeasuredProgram, unit: u64, count: usize, effort: Effort) -> Result<f64> {
    program.begin_anew().await?;
    let seconds = effort.pick(1.0, 1.2);
    // More than they can do.
    let jobs = (seconds + 1.0) * count as f64 * (1000.0 / unit as f64).min(8_000.0);
    send(program, jobs.min(30_000.0) as u32, ".").await?;
    let unit = unit.to_string();
    let mut workers: Vec<Process> = Vec::new();
    for number in 1..=count {
        let name = format!("bench-{number}");
        let work = ["worker", &name, "--prefetch", "10", "--unit-ms", &unit];
        let memory = ("DATABASE", ":memory:".to_owned());
        workers.push(program.start("solution-03", &work, &[memory]).await?);
    }
    let begun = Instant::now();
    while program.consumers(JOBS).await? < count as u64 {
        look(program, begun, &workers).await?;
    }
    let (since, before) = (Instant::now(), program.depth(JOBS).await?);
    let (mut time, mut left) = (Duration::ZERO, before);
    while time.as_secs_f64() < seconds && left > before / 10 {
        look(program, begun, &workers).await?;
        (time, left) = (since.elapsed(), program.depth(JOBS).await?);
    }
    ensure!(left < before, "no job is done in {time:?}");
    Ok((before - left) as f64 / time.as_secs_f64())
}

/// Waits a moment, and sees that all workers still run.
async fn look<'a>(
    program: &MeasuredProgram,
    begun: Instant,
    workers: impl IntoIterator<Item = &'a Process>,
) -> Result<()> {
    if let Some(exit) = workers.into_iter().find_map(Process::ended) {
        bail!("a worker ended with {exit}; see {}", program.dir.display());
    }
    ensure!(begun.elapsed() < TIME_LIMIT, "the workers take too long");
    tokio::time::sleep(LOOK_AGAIN).await;
    Ok(())
}
