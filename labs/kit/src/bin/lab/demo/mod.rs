//! `demo`: the lecture's demonstration, narrated for a class.

mod local;
mod page;
mod said;
mod stage;
mod story;
mod talk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use kit::chapter::{Chapter, Variant};
use kit::paths::Paths;

use crate::build::{Built, Product, build};
use crate::check::does_not_compile;
use crate::stop::asked;
use crate::term::{BOLD, DIM};
use crate::trouble::tell;
use local::Local;
use stage::{HEARTBEAT_S, RATE, Role, Stage, Unexpected};
use talk::Talk;

/// How many lines of a log are shown when something went wrong.
const LAST_LINES: usize = 6;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on without waiting for Enter
    #[arg(long)]
    auto: bool,
    /// Play it with relays instead of hosts: needs no root, and no Linux
    #[arg(long)]
    local: bool,
    /// Your lab's programs instead of the solution's
    #[arg(long)]
    lab: bool,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let variant = match args.lab {
        true => Variant::Lab,
        false => Variant::Solution,
    };
    let chapter = Chapter::resolve(&paths.root, "07")?;
    actix_web::rt::System::new().block_on(async {
        let made = tokio::select! {
            biased;
            code = asked() => return Ok(ExitCode::from(code?)),
            made = build(paths, &chapter, variant, Product::Program) => made?,
        };
        match made {
            Built::Program(program) => perform(paths, args, &program).await,
            Built::CompileError => {
                does_not_compile(&chapter, variant, None);
                Ok(ExitCode::FAILURE)
            }
        }
    })
}

async fn perform(paths: &Paths, args: &Args, program: &Path) -> Result<ExitCode> {
    let dir: PathBuf = paths.data().join("demo");
    let talk = Talk::new(args.auto);
    show(&Local::new(paths, program, dir)?, &talk, args.lab).await
}

/// Plays the story on this stage, and strikes the stage whatever came of it.
async fn show(stage: &impl Stage, talk: &Talk, lab: bool) -> Result<ExitCode> {
    announce(stage, lab);
    let ended = tokio::select! {
        biased;
        code = asked() => Err(code?),
        played = story::play(stage, talk) => Ok(played),
    };
    let code = match ended {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => explain(stage, talk, &error).await,
        Err(code) => {
            talk.say("");
            ExitCode::from(code)
        }
    };
    stage.strike().await?;
    Ok(code)
}

fn announce(stage: &impl Stage, lab: bool) {
    println!("{BOLD}One queue across a network that fails{BOLD:#}");
    let [a, b, cable] = stage.scenery();
    for (label, what) in [("VM A", a), ("VM B", b), ("cable", cable)] {
        println!("  {DIM}{label:<9}{DIM:#} {what}");
    }
    let whose = if lab { "yours" } else { "the solution's" };
    println!(
        "  {DIM}programs{DIM:#}  {whose}; {RATE} messages a second, heartbeat {HEARTBEAT_S} s"
    );
}

/// Says what went wrong, with the programs' last words.
async fn explain(stage: &impl Stage, talk: &Talk, error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<Unexpected>() {
        Some(Unexpected { expected, observed }) => {
            talk.bad("this did not go as it should");
            talk.part("expected", expected);
            talk.part("observed", observed);
            ExitCode::FAILURE
        }
        None => {
            talk.say("");
            tell(error)
        }
    };
    for role in [Role::Producer, Role::Consumer] {
        let log = stage.log(role).await.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        if !last.is_empty() {
            talk.part(role.name(), &last);
        }
    }
    code
}
