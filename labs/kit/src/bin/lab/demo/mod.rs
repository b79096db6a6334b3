//! `demo`: the lecture's demonstration, narrated for a class.

mod checks;
mod containers;
mod kind;
mod local;
mod native;
mod page;
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
use kit::chapter::{Chapter, Variant};
use kit::paths::Paths;

use crate::build::{Built, Product, build};
use crate::check::does_not_compile;
use crate::hosts::place::Place;
use crate::hosts::{give_back, images};
use crate::stop::asked;
use crate::term::{BOLD, DIM};
use crate::trouble::{tell, trouble};
use crate::up::{Image, make_image};
use containers::{Containers, broker_image};
use kind::Kind;
use local::Local;
use native::Native;
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
    #[command(flatten)]
    programs: ProgramArgs,
}

/// Which programs are played, and how.
#[derive(Debug, clap::Args)]
pub struct ProgramArgs {
    /// Your lab's programs instead of the solution's
    #[arg(long)]
    lab: bool,
    /// Take the images as they are, instead of building them first
    #[arg(long)]
    no_build: bool,
    /// Play it on this stage, or fail
    #[arg(long, hide = true)]
    stage: Option<Kind>,
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
            Ok(Prepared::Local(_)) => Err(trouble(
                "these checks take hosts, and a broker on one of them",
                "see above what is missing; or: just lab 07, whose checks need none",
            )),
            Err(code) => Ok(code),
        };
        give_back(paths).await;
        checked
    })
}

/// A stage that is ready to be raised.
enum Prepared {
    Containers(Box<Containers>),
    Native(Box<Native>),
    Local(Box<Local>),
}

/// Chooses a stage and makes what is played on it; or gives an exit code, when the sources do
/// not compile or somebody has asked to stop.
async fn prepare(
    paths: &Paths,
    args: &ProgramArgs,
    kind: Option<Kind>,
) -> Result<Result<Prepared, ExitCode>> {
    let variant = match args.lab {
        true => Variant::Lab,
        false => Variant::Solution,
    };
    let chapter = Chapter::resolve(&paths.root, "07")?;
    let made = async {
        let kind = match kind.or(args.stage) {
            Some(kind) => kind,
            None => Kind::choose(paths).await,
        };
        Ok::<_, anyhow::Error>((kind, make(paths, &chapter, variant, kind, args).await?))
    };
    let (kind, made) = tokio::select! {
        biased;
        code = asked() => return Ok(Err(ExitCode::from(code?))),
        made = made => made?,
    };
    let Built::Program(program) = made else {
        does_not_compile(&chapter, variant, None);
        return Ok(Err(ExitCode::FAILURE));
    };
    let place = Place::of(paths);
    Ok(Ok(match kind {
        Kind::Containers => {
            let image = chapter.package(variant);
            let stage = Containers::new(paths, place?, &image)?;
            Prepared::Containers(Box::new(stage))
        }
        Kind::Native => Prepared::Native(Box::new(Native::new(paths, place?, &program)?)),
        Kind::Local => Prepared::Local(Box::new(Local::new(paths, &program)?)),
    }))
}

/// Makes what is played: the program, or the images.
async fn make(
    paths: &Paths,
    chapter: &Chapter,
    variant: Variant,
    kind: Kind,
    args: &ProgramArgs,
) -> Result<Built> {
    if kind != Kind::Containers {
        return build(paths, chapter, variant, Product::Program).await;
    }
    let package = chapter.package(variant);
    images::fetch(&broker_image(paths)?).await?;
    let made = match args.no_build {
        true => Image::Made,
        false => make_image(paths, chapter, variant).await?,
    };
    if made == Image::CompileError {
        return Ok(Built::CompileError);
    }
    Ok(Built::Program(package.into()))
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
            talk.aside("this machine has trouble");
            tell(error)
        }
    };
    for (name, text) in last_words(stage).await {
        talk.part(name, &text);
    }
    code
}

/// The last lines of what the programs have printed.
async fn last_words(stage: &impl Stage) -> Vec<(&'static str, String)> {
    let mut words = Vec::new();
    for role in [Role::Producer, Role::Consumer] {
        let log = stage.log(role).await.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        if !last.is_empty() {
            words.push((role.name(), last));
        }
    }
    words
}
