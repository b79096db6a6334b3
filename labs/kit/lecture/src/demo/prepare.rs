//! Getting ready: which stage, and what is played on it.

use std::process::ExitCode;

use anyhow::Result;
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use super::containers::{Containers, broker_image};
use super::kind::Kind;
use super::local::Local;
use super::native::Native;
use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use command::image::{Image, make_image};
use hosts::images;
use hosts::place::Place;
use process::stop::asked;

/// Which programs are played, and how.
#[derive(Debug, clap::Args)]
pub struct ProgramArgs {
    /// Your lab's programs instead of the solution's
    #[arg(long)]
    pub lab: bool,
    /// Take the images as they are, instead of building them first
    #[arg(long)]
    no_build: bool,
    /// Play it on this stage, or fail
    #[arg(long, hide = true)]
    stage: Option<Kind>,
}

/// A stage that is ready to be raised.
pub enum Prepared {
    Containers(Box<Containers>),
    Native(Box<Native>),
    Local(Box<Local>),
}

/// Chooses a stage and makes what is played on it; or gives an exit code, when the sources do
/// not compile or somebody has asked to stop.
///
/// # Errors
/// When this machine has trouble.
pub async fn prepare(
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
