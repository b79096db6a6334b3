//! Measures what routing costs: by the number of bindings, and by the number of queues that get a copy.

use anyhow::Result;

use super::chart::{Axis, Chart, Line, Places, Point, Scale, measured_lines};
use super::publish::published;
use super::session::Session;

/// The exchanges that look a routing key up.
const EXCHANGES: [&str; 2] = ["direct", "topic"];

/// Measures both.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    bindings(session).await?;
    queues(session).await
}

async fn bindings(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.7, 1.2);
    let counts: &[f64] = effort.pick(&[1.0, 100.0], &[1.0, 10.0, 100.0, 1000.0, 5000.0]);
    let places = Places::new("bindings of one queue", Scale::Log, counts);
    let [lines] = measured_lines(
        &EXCHANGES,
        &places,
        effort.pick(1, 2),
        async |line, place| {
            let count = counts[place];
            program.begin_anew().await?;
            let work = format!(
                "publish --exchange {} --bindings {count} --seconds {seconds}",
                EXCHANGES[line]
            );
            Ok(Some(published(program, &work).await?))
        },
    )
    .await?;
    session.keep(Chart {
        name: "routes-bindings".to_owned(),
        title: "Does it matter how many bindings an exchange has?".to_owned(),
        x: places.axis,
        y: Axis::new("published a second", Scale::Linear),
        lines,
        note: "One binding matches. In a topic exchange each has three words and a `*`. 1 kB, 256 confirms in flight."
            .to_owned(),
    })
}

async fn queues(session: &mut Session<'_>) -> Result<()> {
    let effort = session.effort;
    let program = session.program;
    let seconds = effort.pick(0.7, 1.2);
    let counts: &[f64] = effort.pick(&[1.0, 8.0], &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
    let places = Places::new("queues", Scale::Log, counts);
    let [published] = measured_lines(
        &["published"],
        &places,
        effort.pick(1, 2),
        async |_, place| {
            let count = counts[place];
            program.begin_anew().await?;
            let work = format!("publish --exchange fanout --queues {count} --seconds {seconds}");
            Ok(Some(published(program, &work).await?))
        },
    )
    .await?;
    let copies = published[0].points.iter().map(|point| Point {
        y: point.y * point.x,
        low: point.low * point.x,
        high: point.high * point.x,
        ..*point
    });
    let copies = Line {
        name: "copies in queues".to_owned(),
        points: copies.collect(),
        ideal: false,
    };
    session.keep(Chart {
        name: "routes-queues".to_owned(),
        title: "What does each further queue of a fanout exchange cost?".to_owned(),
        x: places.axis,
        y: Axis::new("messages a second", Scale::Log),
        lines: published.into_iter().chain([copies]).collect(),
        note: "1 kB, 256 confirms in flight, no consumer.".to_owned(),
    })
}
