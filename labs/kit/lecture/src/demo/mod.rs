//! `demo`: the lecture's demonstration, narrated for a class.

mod bar;
mod checks;
mod containers;
mod failure;
mod forbidden;
mod kind;
mod local;
mod native;
mod page;
mod prepare;
mod programs;
mod report;
mod rig;
mod said;
mod stage;
mod story;
mod talk;
mod watch;

use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use course::paths::Paths;

use failure::explain;
use hosts::give_back;
use kind::Kind;
pub use prepare::ProgramArgs;
use prepare::{Prepared, prepare};
use process::stop::asked;
use stage::{HEARTBEAT_S, RATE, Stage};
use talk::Talk;
use terminal::user_error;
use terminal::{BOLD, DIM};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on without waiting for Enter
    #[arg(long)]
    auto: bool,
    /// Play it with relays instead of hosts: needs no root, and no Linux
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    programs: ProgramArgs,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    actix_web::rt::System::new().block_on(async {
        let local = args.local.then_some(Kind::Local);
        let prepared = match prepare(paths, &args.programs, local).await? {
            Ok(prepared) => prepared,
            Err(code) => return Ok(code),
        };
        let (talk, lab) = (Talk::new(args.auto), args.programs.lab);
        let shown = match prepared {
            Prepared::Containers(stage) => show(&*stage, &talk, lab).await,
            Prepared::Native(stage) => show(&*stage, &talk, lab).await,
            Prepared::Local(stage) => show(&*stage, &talk, lab).await,
        };
        give_back(paths).await;
        shown
    })
}

/// `hosts check`.
///
/// # Errors
/// When this machine has no hosts, or trouble.
pub fn check(paths: &Paths, args: &ProgramArgs) -> Result<ExitCode> {
    actix_web::rt::System::new().block_on(async {
        let checked = match prepare(paths, args, None).await? {
            Ok(Prepared::Containers(stage)) => report::check(&*stage).await,
            Ok(Prepared::Native(stage)) => report::check(&*stage).await,
            Ok(Prepared::Local(_)) => Err(user_error(
                "these checks take hosts, and a broker on one of them",
                "see above what is missing; or: just lab 07, whose checks need none",
            )),
            Err(code) => Ok(code),
        };
        give_back(paths).await;
        checked
    })
}

/// Plays the story on this stage, and strikes the stage whatever came of it.
async fn show(stage: &impl Stage, talk: &Talk, lab: bool) -> Result<ExitCode> {
    announce(stage, lab);
    let play = async {
        stage.raise().await?;
        story::play(stage, talk).await
    };
    let ended = tokio::select! {
        biased;
        code = asked() => Err(code?),
        played = play => Ok(played),
    };
    let code = match ended {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => explain(stage, talk, &error).await,
        Err(code) => {
            talk.aside("stopped; all that was made goes away");
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
