//! Measures how many messages a second the broker takes: with and without confirms, by queue and by size.

use anyhow::Result;

use super::chart::{Axis, Chart, Places, Scale, measured_lines};
use super::jobs::{JOBS, send};
use super::measured_program::{MeasuredProgram, QUEUE};
use super::session::Session;

/// How many confirms are outstanding; 0 without any.
const WINDOWS: [u32; 5] = [0, 1, 16, 256, 1024];
/// The window of chapter 03's producer.
const OF_PRODUCER: u32 = 256;

/// The kinds of messages and queues, and how the load program is told.
const KINDS: [(&str, &str); 3] = [
    ("classic, transient", "--queue classic --transient"),
    ("classic, persistent", "--queue classic"),
    ("quorum", "--queue quorum"),
];

/// Measures by confirms in flight, by size, and with publishers added.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    windows(session).await?;
    sizes(session).await?;
    publishers(session).await
}

/// Publishes with the load program to an empty vhost, with confirms, and gives the rate if all is there.
pub async fn published(program: &MeasuredProgram, work: &str) -> Result<[f64; 1]> {
    let [rate, sent] = program.load(work, None).await?;
    program.holds(QUEUE, sent as u64).await?;
    Ok([rate])
}

async fn windows(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.7, 0.9);
    let producer = "chapter 03's producer";
    let names = [KINDS[0].0, KINDS[1].0, KINDS[2].0, producer];
    let windows = WINDOWS.map(|window| match window {
        0 => "no confirms".to_owned(),
        some => some.to_string(),
    });
    let places = Places::named(
        "confirms in flight",
        &windows.each_ref().map(String::as_str),
    );
    let [lines] = measured_lines(&names, &places, effort.pick(1, 3), async |line, place| {
        let window = WINDOWS[place];
        program.begin_anew().await?;
        let rate = match KINDS.get(line) {
            Some((_, kind)) => {
                let work = format!("publish {kind} --window {window} --seconds {seconds}");
                match window {
                    // Nobody is told what is lost: a quorum queue's last messages sometimes are.
                    0 => [program.load::<2>(&work, None).await?[0]],
                    _ => published(program, &work).await?,
                }
            }
            None if window == OF_PRODUCER => {
                let jobs = effort.pick(10_000, 40_000);
                let time = send(program, jobs, "").await?;
                program.holds(JOBS, jobs.into()).await?;
                [f64::from(jobs) / time.as_secs_f64()]
            }
            None => return Ok(None),
        };
        Ok(Some(rate))
    })
    .await?;
    session.keep(Chart {
        name: "publish-window".to_owned(),
        title: "How many messages a second does the broker take from one publisher?".to_owned(),
        x: places.axis,
        y: Axis::new("published a second", Scale::Linear),
        lines,
        note: "1 kB, one channel. Without confirms the broker may lose what it has not read yet: the \
               time ends when it has answered the close of the channel. Chapter 03's producer sends small jobs."
            .to_owned(),
    })
}

async fn sizes(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.7, 0.9);
    let names = KINDS.map(|(name, _)| name);
    let sizes: &[f64] = effort.pick(&[100.0, 10_000.0], &[100.0, 1_000.0, 10_000.0, 100_000.0]);
    let places = Places::new("bytes a message", Scale::Log, sizes);
    let [lines] = measured_lines(&names, &places, effort.pick(1, 3), async |line, place| {
        let size = sizes[place];
        program.begin_anew().await?;
        let work = format!(
            "publish {} --size {size} --seconds {seconds}",
            KINDS[line].1
        );
        Ok(Some(published(program, &work).await?))
    })
    .await?;
    session.keep(Chart {
        name: "publish-size".to_owned(),
        title: "How many messages a second, by their size?".to_owned(),
        x: places.axis,
        y: Axis::new("published a second", Scale::Log),
        lines,
        note: "256 confirms in flight, one publisher.".to_owned(),
    })
}

/// The broker's ceiling: where a further publisher adds nothing.
async fn publishers(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.7, 0.9);
    let names = KINDS.map(|(name, _)| name);
    let counts: &[f64] = effort.pick(&[1.0, 2.0], &[1.0, 2.0, 3.0, 4.0]);
    let places = Places::new("publishers", Scale::Linear, counts);
    let [lines] = measured_lines(&names, &places, effort.pick(1, 3), async |line, place| {
        program.begin_anew().await?;
        let work = format!("publish {} --seconds {seconds}", KINDS[line].1);
        let publishers = counts[place] as usize;
        let (rates, all) = program.load_together(&work, publishers).await?;
        program.holds(QUEUE, all).await?;
        Ok(Some([rates]))
    })
    .await?;
    session.keep(Chart {
        name: "publish-publishers".to_owned(),
        title: "How many messages a second does the broker take from several publishers?"
            .to_owned(),
        x: places.axis,
        y: Axis::new("published a second", Scale::Linear),
        lines,
        note: "1 kB, 256 confirms in flight for each, one queue.".to_owned(),
    })
}
