//! `watch NN`: runs the checks again at each save.

use std::ffi::OsString;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;

use anstream::println;
use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use crate::check::start;
use crate::saves::Saves;
use command::Which;
use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use process::GRACE;
use process::stop::asked;
use terminal::DIM;

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
                let mut checks = start(checks, rest)?;
                let ended = tokio::select! {
                    biased;
                    code = &mut stop => Ended::Stop(code?),
                    () = saves.changed() => Ended::Saved,
                    status = checks.wait() => {
                        status.context("cannot wait for the checks")?;
                        Ended::Itself
                    }
                };
                // The checks end at once; their services' guards see to the rest.
                if !matches!(ended, Ended::Itself) && checks.terminate(GRACE).await?.is_none() {
                    checks.kill().await?;
                }
                ended
            }
            Some(Ok(Built::CompileError)) => {
                does_not_compile(chapter, Variant::Lab, None);
                Ended::Itself
            }
            // The next save may repair it, such as a half-edited manifest.
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
    /// The command was asked to end, with this exit code.
    Stop(u8),
}

/// Clears the screen of a terminal; what was on it stays in the scroll-back.
fn clear() {
    if terminal::interactive() {
        print!("\x1b[2J\x1b[H");
        // At once: cargo and the checks write before our next line. A terminal that is gone
        // ends the command by a signal.
        let _ = std::io::stdout().flush();
    } else {
        println!("---");
    }
}
