//! `watch NN`: the checks again at each save.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anstream::println;
use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use tokio::process::Command;

use crate::saves::Saves;
use command::Which;
use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use process::stop::{Group, asked};
use terminal::DIM;

/// What checks get to take their services down when a save cancels them.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// For the checks: --only CHECK, --seed N, --json FILE
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    actix_web::rt::System::new().block_on(watch(paths, &chapter, &args.rest))
}

async fn watch(paths: &Paths, chapter: &Chapter, rest: &[OsString]) -> Result<ExitCode> {
    let mut stop = pin!(asked());
    // Before the first run, so that a save during it counts.
    let mut saves = Saves::of(&chapter.lab)?;
    loop {
        clear();
        let built = tokio::select! {
            biased;
            code = &mut stop => return Ok(ExitCode::from(code?)),
            () = saves.changed() => None,
            built = build(paths, chapter, Variant::Lab, Product::Checks) => Some(built),
        };
        let ended = match built {
            None => Ended::Saved,
            Some(Ok(Built::Program(checks))) => {
                let mut checks = start(&checks, rest)?;
                let ended = tokio::select! {
                    biased;
                    code = &mut stop => Ended::Stop(code?),
                    () = saves.changed() => Ended::Saved,
                    status = checks.wait() => {
                        status.context("cannot wait for the checks")?;
                        Ended::Itself
                    }
                };
                checks.stop(GRACE).await;
                ended
            }
            Some(Ok(Built::CompileError)) => {
                does_not_compile(chapter, Variant::Lab, None);
                Ended::Itself
            }
            // A manifest saved half-way, say: the next save may well mend it.
            Some(Err(error)) => {
                terminal::tell(&error);
                Ended::Itself
            }
        };
        match ended {
            Ended::Stop(code) => return Ok(ExitCode::from(code)),
            Ended::Saved => {}
            Ended::Itself => {
                println!("{DIM}watching {} · Ctrl-C ends{DIM:#}", chapter.name);
                tokio::select! {
                    biased;
                    code = &mut stop => return Ok(ExitCode::from(code?)),
                    () = saves.changed() => {}
                }
            }
        }
        saves.settle().await;
    }
}

/// How a run ended.
enum Ended {
    Itself,
    /// A save made it out of date.
    Saved,
    /// The command shall end, with this exit code.
    Stop(u8),
}

fn start(checks: &Path, rest: &[OsString]) -> Result<Group> {
    let mut command = Command::new(checks);
    command
        .args(rest)
        .stdin(std::process::Stdio::null())
        // Killed with -9, this process tells nobody; the checks look for it themselves.
        .env("LAB_PARENT", std::process::id().to_string());
    Group::spawn(&mut command).with_context(|| format!("cannot start {}", checks.display()))
}

/// Begins on a clean screen, where there is one. What was on it can be scrolled back to.
fn clear() {
    if terminal::interactive() {
        print!("\x1b[2J\x1b[H");
        // Now, not with our next line: cargo and the checks write before that. A terminal
        // that is gone ends the command by a signal.
        let _ = std::io::stdout().flush();
    } else {
        println!("---");
    }
}
