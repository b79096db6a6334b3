//! Measures how long a student waits: for the first run, for a run after an edit, for the broker.
//!
//! It works in a copy of the last commit with a target folder of its own, so that a student's work
//! and builds stay as they are, and the first build has nothing to reuse.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anstream::eprintln;
use anyhow::{Context, Result, bail};
use broker::{self, Broker};
use course::chapter::{Chapter, Variant};
use course::holes;
use course::paths::Paths;

use super::chart::{Axis, Chart, Line, Point, Scale, median};
use super::say;
use super::session::Effort;
use command::acquire;
use process::Group;
use process::stop::{Ended, until_stopped};
use terminal::DIM;
use terminal::user_error;

/// The commands whose time is measured, with nothing to build and after an edit.
const COMMANDS: [Variant; 2] = [Variant::Lab, Variant::Solution];

/// Measures each step so many times, but the first run only once. Gives the broker's version, too.
pub fn measure(paths: &Paths, effort: Effort) -> Result<Ended<(String, Chart)>> {
    let copy = unpack_head(paths)?;
    let chart = until_stopped(measure_in(&copy, effort.pick(1, 3)));
    // The copy's brokers must not outlive the copy, also after an error or Ctrl-C.
    let down = until_stopped(broker::down(&copy)).map(|_| ());
    fs::remove_dir_all(copy.root.parent().unwrap_or(&copy.root))
        .with_context(|| format!("cannot remove {}", copy.root.display()))?;
    down?;
    chart
}

/// The last commit, unpacked under `target/lab/bench`.
fn unpack_head(paths: &Paths) -> Result<Paths> {
    let bench = paths.data().join("bench");
    let copy = Paths {
        root: bench.join("clone"),
        target: bench.join("target"),
    };
    if bench.exists() {
        until_stopped(broker::down(&copy))?;
        fs::remove_dir_all(&bench).with_context(|| format!("cannot clear {}", bench.display()))?;
    }
    fs::create_dir_all(&copy.root)
        .with_context(|| format!("cannot make {}", copy.root.display()))?;
    let changed = run_git(paths, &["status", "--porcelain"])?;
    if !changed.stdout.is_empty() {
        eprintln!("{DIM}·{DIM:#} uncommitted changes are not measured");
    }
    let tar = bench.join("head.tar");
    let tar_name = tar.display().to_string();
    run_git(paths, &["archive", "--format=tar", "-o", &tar_name, "HEAD"])?;
    let unpacked = Command::new("tar")
        .args(["-xf", &tar_name, "-C"])
        .arg(&copy.root)
        .status()
        .context("tar cannot be started")?;
    if !unpacked.success() {
        bail!("tar cannot unpack {tar_name}");
    }
    fs::remove_file(&tar).with_context(|| format!("cannot remove {tar_name}"))?;
    Ok(copy)
}

fn run_git(paths: &Paths, args: &[&str]) -> Result<std::process::Output> {
    let output = Command::new("git")
        .current_dir(&paths.root)
        .args(args)
        .output()
        .context("git cannot be started")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", args.join(" "), words.trim());
    }
    Ok(output)
}

async fn measure_in(copy: &Paths, runs: u32) -> Result<(String, Chart)> {
    let chapters = Chapter::all(&copy.root)?;
    let last = chapters.last().context("no chapters")?;
    say(&format!(
        "the first `just lab {}`, on an empty target folder",
        last.number
    ));
    let first = time_command(copy, "lab", last).await?;
    let mut lines = Vec::new();
    for variant in COMMANDS {
        let (mut warm, mut edited) = (Vec::new(), Vec::new());
        for (place, chapter) in chapters.iter().enumerate() {
            let [quiet, after] = measure_chapter(copy, chapter, variant, runs).await?;
            warm.extend(Point::of(place as f64, &quiet));
            edited.extend(Point::of(place as f64, &after));
        }
        for (what, points) in [("nothing to build", warm), ("after an edit", edited)] {
            let name = format!("just {variant}, {what}");
            lines.push(Line {
                name,
                points,
                ideal: false,
            });
        }
    }
    say("the private broker's start");
    let (mut starts, mut version) = (Vec::new(), String::new());
    for _ in 0..runs {
        let (time, of) = time_broker_start(copy).await?;
        starts.push(time);
        version = of;
    }
    let numbers = chapters.iter().map(|chapter| chapter.number.clone());
    let chart = Chart {
        name: "loop".to_owned(),
        title: "How long does a student wait for a verdict?".to_owned(),
        x: Axis::new("chapter", Scale::Names(numbers.collect())),
        y: Axis::new("seconds", Scale::Linear),
        lines,
        note: format!(
            "From Enter to the prompt. The first `just lab {}`, on an empty target folder with the crates fetched, \
             took {:.1} s (once); the private broker {:.1} s from its start to the first connection.",
            last.number,
            first,
            median(&starts)
        ),
    };
    Ok((version, chart))
}

/// Measures a chapter with nothing to build, then after edits of one line in the first hole, in seconds.
async fn measure_chapter(
    copy: &Paths,
    chapter: &Chapter,
    variant: Variant,
    runs: u32,
) -> Result<[Vec<f64>; 2]> {
    say(&format!("`just {variant} {}`", chapter.number));
    let src = chapter.folder(variant).join("src");
    let variant = variant.to_string();
    // Builds what is left to build, and starts the broker if it is down.
    time_command(copy, &variant, chapter).await?;
    let mut warm = Vec::new();
    for _ in 0..runs {
        warm.push(time_command(copy, &variant, chapter).await?);
    }
    let mut edited = Vec::new();
    if let Some((file, line)) = holes::locate(&src, 1)? {
        for run in 1..=runs {
            edit(&file, line, run)?;
            edited.push(time_command(copy, &variant, chapter).await?);
        }
    }
    Ok([warm, edited])
}

/// Inserts a line after line `line` of the copy's file, different for each `run`.
fn edit(file: &Path, line: usize, run: u32) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // All holes hold statements, so a statement fits at the start of each.
    lines.insert(
        line,
        format!("    let _edit_{run} = std::hint::black_box({run});"),
    );
    fs::write(file, lines.join("\n") + "\n").with_context(|| format!("{}", file.display()))
}

/// How long a person waits for `just <command> NN`, from Enter to the prompt, in seconds.
async fn time_command(copy: &Paths, command: &str, chapter: &Chapter) -> Result<f64> {
    let log = copy.target.with_extension("log");
    let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut just = tokio::process::Command::new("just");
    just.current_dir(&copy.root)
        .args([command, &chapter.number])
        .env("CARGO_TARGET_DIR", &copy.target)
        .env_remove("AMQP_URL")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let begun = Instant::now();
    let status = Group::spawn(&mut just)
        .map_err(|error| user_error(format!("just cannot be started: {error}"), "just doctor"))?
        .wait()
        .await?;
    let time = begun.elapsed().as_secs_f64();
    let expected = if command == "lab" { 1 } else { 0 };
    if status.code() != Some(expected) {
        bail!(
            "`just {command} {}` ended with {status} instead of {expected}:\n{}",
            chapter.number,
            fs::read_to_string(&log).unwrap_or_default()
        );
    }
    Ok(time)
}

/// From its start to the first connection, in seconds; and its version.
async fn time_broker_start(copy: &Paths) -> Result<(f64, String)> {
    broker::down(copy).await?;
    let begun = Instant::now();
    let broker: Broker = acquire(copy).await?;
    let url = broker.address.url("/");
    let connection = broker::connect(&url, "bench").await;
    let connection = connection.context("cannot connect to the new broker")?;
    let time = begun.elapsed().as_secs_f64();
    connection.close(200, "measured".into()).await.ok();
    Ok((time, broker.version))
}
