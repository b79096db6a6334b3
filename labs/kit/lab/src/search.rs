//! `search NN`: builds the chapter's search and becomes it; `search --all` runs one after the other.

use std::ffi::OsString;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context, Result};
use command::Which;
use command::cargo::{Built, Product, build, does_not_compile};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use process::GRACE;
use process::stop::asked;

use crate::check::{become_built, start};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// --solution, --all (chapters), --for 60s, --fault FAULT, --pairs, --keep-going, --fresh, --list
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let ours = |word: &&OsString| *word == "--solution" || *word == "--all";
    let (flags, rest): (Vec<_>, Vec<_>) = args.rest.iter().partition(ours);
    let rest: Vec<OsString> = rest.into_iter().cloned().collect();
    let variant = Variant::from_flag(flags.iter().any(|word| *word == "--solution"));
    if flags.iter().any(|word| *word == "--all") {
        let chapters = Chapter::all(&paths.root)?;
        return actix_web::rt::System::new().block_on(all(paths, &chapters, variant, &rest));
    }
    let chapter = args.which.resolve(paths)?;
    become_built(
        paths,
        (&chapter, variant),
        (Product::Search, "search"),
        &rest,
    )
}

/// Searches one chapter after the other; the exit code is the worst.
async fn all(
    paths: &Paths,
    chapters: &[Chapter],
    variant: Variant,
    rest: &[OsString],
) -> Result<ExitCode> {
    let mut stop = pin!(asked());
    let mut worst = 0;
    for chapter in chapters {
        let built = tokio::select! {
            biased;
            code = &mut stop => return Ok(ExitCode::from(code?)),
            built = build(paths, chapter, variant, Product::Search) => built?,
        };
        let Built::Program(program) = built else {
            does_not_compile(chapter, variant, Some("search"));
            worst = worst.max(1);
            continue;
        };
        let mut search = start(program, rest)?;
        let code = tokio::select! {
            biased;
            code = &mut stop => {
                search.terminate(GRACE).await?;
                return Ok(ExitCode::from(code?));
            }
            status = search.wait() => status.context("cannot wait for the search")?.code(),
        };
        worst = worst.max(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2));
    }
    Ok(ExitCode::from(worst))
}
