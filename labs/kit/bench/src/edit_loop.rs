//! Measures how long a student waits: for the first run, for a run after an edit, for the broker.
//!
//! It works in a copy of the last commit with a target folder of its own, so that a student's work
//! and builds stay as they are, and the first build has nothing to reuse.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anstream::{eprintln, println};
use anyhow::{Context, Result, bail};
use broker::{self, Broker};
use course::chapter::{Chapter, Variant};
use course::holes;
use course::paths::Paths;

use super::{machine, median, say};
use command::acquire;
use process::stop::{Ended, until_stopped};
use terminal::DIM;
use terminal::user_error;

/// One line of the table.
struct Figure {
    what: String,
    times: Vec<Duration>,
    /// The most seconds that it should take, where there is a goal.
    goal: Option<f64>,
}

/// Measures each step `runs` times, but the first run only once, and prints the table.
pub fn run(paths: &Paths, runs: u32) -> Result<ExitCode> {
    let copy = unpack_head(paths)?;
    let measured = measure(&copy, runs);
    // The copy's broker must not outlive the copy, also after an error.
    let down = until_stopped(broker::down(&copy)).map(|_| ());
    fs::remove_dir_all(copy.root.parent().unwrap_or(&copy.root))
        .with_context(|| format!("cannot remove {}", copy.root.display()))?;
    let figures = measured?;
    down?;
    print(&figures, runs);
    Ok(ExitCode::SUCCESS)
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

fn measure(copy: &Paths, runs: u32) -> Result<Vec<Figure>> {
    let chapters = Chapter::all(&copy.root)?;
    let last = chapters.last().context("no chapters")?;
    let mut figures = Vec::new();
    say(&format!(
        "the first `just lab {}`, on an empty target folder",
        last.number
    ));
    figures.push(Figure {
        what: format!(
            "first `just lab {}`, empty target, crates fetched",
            last.number
        ),
        times: vec![time_command(copy, "lab", last)?],
        goal: Some(100.0),
    });
    for chapter in &chapters {
        for variant in [Variant::Lab, Variant::Solution] {
            figures.extend(measure_chapter(copy, chapter, variant, runs)?);
        }
    }
    say("the private broker's start");
    figures.push(Figure {
        what: "broker started to first connection".to_owned(),
        times: (0..runs)
            .map(|_| time_broker_start(copy))
            .collect::<Result<_>>()?,
        goal: Some(2.5),
    });
    Ok(figures)
}

/// Measures a chapter with nothing to build, then after edits of one line in the first hole.
fn measure_chapter(
    copy: &Paths,
    chapter: &Chapter,
    variant: Variant,
    runs: u32,
) -> Result<Vec<Figure>> {
    let name = format!("just {variant} {}", chapter.number);
    let command = variant.to_string();
    say(&format!("`{name}`"));
    // Builds what is left to build, and starts the broker if it is down.
    time_command(copy, &command, chapter)?;
    let warm: Vec<Duration> = (0..runs)
        .map(|_| time_command(copy, &command, chapter))
        .collect::<Result<_>>()?;
    let mut figures = vec![Figure {
        what: format!("`{name}`, nothing to build"),
        times: warm,
        goal: Some(4.0),
    }];
    let src = chapter.folder(variant).join("src");
    if let Some((file, line)) = holes::locate(&src, 1)? {
        let warm = median(&figures[0].times).as_secs_f64();
        let mut times = Vec::new();
        for run in 1..=runs {
            edit(&file, line, run)?;
            times.push(time_command(copy, &command, chapter)?);
        }
        figures.push(Figure {
            what: format!("`{name}` after an edit of one line"),
            times,
            goal: Some(warm + 2.0),
        });
    }
    Ok(figures)
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

/// How long a person waits for `just <command> NN`, from Enter to the prompt.
fn time_command(copy: &Paths, command: &str, chapter: &Chapter) -> Result<Duration> {
    let begun = Instant::now();
    let output = Command::new("just")
        .current_dir(&copy.root)
        .args([command, &chapter.number])
        .env("CARGO_TARGET_DIR", &copy.target)
        .env_remove("AMQP_URL")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| user_error(format!("just cannot be started: {error}"), "just doctor"))?;
    let time = begun.elapsed();
    let expected = if command == "lab" { 1 } else { 0 };
    if output.status.code() != Some(expected) {
        let words = [output.stdout, output.stderr].concat();
        bail!(
            "`just {command} {}` ended with {} instead of {expected}:\n{}",
            chapter.number,
            output.status,
            String::from_utf8_lossy(&words)
        );
    }
    Ok(time)
}

fn time_broker_start(copy: &Paths) -> Result<Duration> {
    let work = async {
        broker::down(copy).await?;
        let begun = Instant::now();
        let broker: Broker = acquire(copy).await?;
        let url = broker.address.url("/");
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&url, properties).await;
        let connection = connection.context("cannot connect to the new broker")?;
        let time = begun.elapsed();
        connection.close(200, "measured".into()).await.ok();
        Ok(time)
    };
    match until_stopped(work)? {
        Ended::Done(time) => Ok(time),
        Ended::Stopped(_) => bail!("stopped"),
    }
}

fn print(figures: &[Figure], runs: u32) {
    println!("Medians of {runs}, in seconds, on {}:\n", machine());
    println!("| what | median | worst | goal |");
    println!("|---|---|---|---|");
    for Figure { what, times, goal } in figures {
        let median = median(times).as_secs_f64();
        let worst = times
            .iter()
            .max()
            .copied()
            .unwrap_or_default()
            .as_secs_f64();
        let goal = goal.map_or(String::new(), |goal| format!("≤ {goal:.1}"));
        let once = if times.len() == 1 { " (once)" } else { "" };
        println!("| {what}{once} | {median:.2} | {worst:.2} | {goal} |");
    }
}
