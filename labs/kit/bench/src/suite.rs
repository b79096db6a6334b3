//! Measures what a maintainer waits for: `just test` after `just setup`, and the disk that both take.

use anyhow::{Context, Result, ensure};
use course::paths::Paths;
use process::stop::Ended;
use tokio::process::Command;

use super::chart::{Axis, Chart, Line, Point, Scale, number};
use super::edit_loop::{in_copy, time_just};
use super::say;
use command::acquire;

const COMMANDS: [&str; 2] = ["setup", "test"];

/// Measures both once, on an empty target folder. Gives the broker's version, too.
pub fn measure(paths: &Paths) -> Result<Ended<(String, Chart)>> {
    in_copy(paths, async |copy| {
        let (mut minutes, mut gigabytes) = (Vec::new(), Vec::new());
        for command in COMMANDS {
            say(&format!("`just {command}`, once"));
            let place = minutes.len() as f64;
            minutes.extend(Point::of(
                place,
                &[time_just(copy, &[command], 0).await? / 60.0],
            ));
            gigabytes.push(disk(copy).await? / 1e9);
        }
        let version = acquire(copy).await?.version;
        let chart = Chart {
            name: "test".to_owned(),
            title: "How long do all proofs take?".to_owned(),
            x: Axis::new(
                "once, one after the other",
                Scale::Names(COMMANDS.map(|name| format!("just {name}")).to_vec()),
            ),
            y: Axis::new("minutes", Scale::Linear),
            lines: vec![Line {
                name: "minutes".to_owned(),
                points: minutes,
                ideal: false,
            }],
            note: format!(
                "On an empty target folder with the crates fetched. It had {} GB after `just setup`, {} GB after `just test`.",
                number(gigabytes[0]),
                number(gigabytes[1])
            ),
        };
        Ok((version, chart))
    })
}

/// The bytes on the disk under the copy's target folder.
async fn disk(copy: &Paths) -> Result<f64> {
    let output = Command::new("du").arg("-sk").arg(&copy.target).output();
    let output = output.await.context("du cannot be started")?;
    ensure!(output.status.success(), "du ended with {}", output.status);
    let told = String::from_utf8_lossy(&output.stdout);
    let kibibytes = told.split_whitespace().next().unwrap_or_default();
    let kibibytes: f64 = kibibytes
        .parse()
        .with_context(|| format!("du printed {told:?}"))?;
    Ok(kibibytes * 1024.0)
}
