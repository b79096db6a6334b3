//! Prepares a testbed: chooses its kind and builds the programs or images that run in it.

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Result;
use course::chapter::{Chapter, Variant};
use course::manifest::Lecture;
use course::paths::Paths;

use crate::testbed::{ContainersOnHosts, Kind, LocalPrograms, ProgramsOnHosts, broker_image};
use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use command::image::{Image, make_image};
use hosts::images;
use process::stop::asked;

/// Which programs run, and where.
#[derive(Debug, clap::Args)]
pub struct ProgramArgs {
    /// Your lab's programs instead of the solution's
    #[arg(long)]
    lab: bool,
    /// Take the images as they are, instead of building them first
    #[arg(long)]
    no_build: bool,
    /// Use this testbed, or fail
    #[arg(long, hide = true)]
    testbed: Option<Kind>,
}

/// A testbed that can be set up, and whose programs run in it.
pub struct Prepared {
    pub chapter: Chapter,
    pub variant: Variant,
    pub testbed: AnyTestbed,
}

/// A testbed of one of the three kinds.
pub enum AnyTestbed {
    Containers(Rc<ContainersOnHosts>),
    Programs(Rc<ProgramsOnHosts>),
    Local(Rc<LocalPrograms>),
}

/// Chooses a testbed, unless `kind` says which, and builds what runs in it. The inner error is
/// the exit code where the sources do not compile, or a person stopped the command.
///
/// # Errors
/// Trouble of this machine.
pub async fn prepare(
    paths: &Paths,
    args: &ProgramArgs,
    kind: Option<Kind>,
) -> Result<Result<Prepared, ExitCode>> {
    let variant = match args.lab {
        true => Variant::Lab,
        false => Variant::Solution,
    };
    let (chapter, lecture) = Lecture::find(&paths.root)?;
    let work = async {
        let kind = match kind.or(args.testbed) {
            Some(kind) => kind,
            None => Kind::choose(paths).await,
        };
        let built = match kind {
            Kind::Containers => {
                images::pull_if_missing(&broker_image(paths, &lecture)?).await?;
                build_image(paths, &chapter, variant, args.no_build).await?
            }
            Kind::Programs | Kind::Local => {
                build(paths, &chapter, variant, Product::Program).await?
            }
        };
        anyhow::Ok((kind, built))
    };
    let (kind, built) = tokio::select! {
        biased;
        code = asked() => return Ok(Err(ExitCode::from(code?))),
        done = work => done?,
    };
    let Built::Program(program) = built else {
        does_not_compile(&chapter, variant, None);
        return Ok(Err(ExitCode::FAILURE));
    };
    let number = &chapter.number;
    let testbed = match kind {
        Kind::Containers => {
            let image = chapter.package(variant);
            AnyTestbed::Containers(ContainersOnHosts::new(paths, image, lecture)?.into())
        }
        Kind::Programs => {
            AnyTestbed::Programs(ProgramsOnHosts::new(paths, &program, number, lecture)?.into())
        }
        Kind::Local => {
            AnyTestbed::Local(LocalPrograms::new(paths, &program, number, lecture)?.into())
        }
    };
    Ok(Ok(Prepared {
        chapter,
        variant,
        testbed,
    }))
}

/// Builds the chapter's image, whose name is then given as its program.
async fn build_image(
    paths: &Paths,
    chapter: &Chapter,
    variant: Variant,
    no_build: bool,
) -> Result<Built> {
    let image = match no_build {
        true => Image::Made,
        false => make_image(paths, chapter, variant).await?,
    };
    Ok(match image {
        Image::CompileError => Built::CompileError,
        Image::Made => Built::Program(chapter.package(variant).into()),
    })
}
