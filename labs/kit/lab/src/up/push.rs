//! `push REGISTRY`: builds a chapter's image for release and pushes it to a registry.

use std::process::{ExitCode, Stdio};

use anstream::println;
use anyhow::{Context, Result, bail};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use tokio::process::Command;

use command::cargo::does_not_compile;
use command::credentials;
use command::image::Image;
use command::project::{Project, last_error, require_engine};
use process::stop::until_stopped;
use terminal::user_error;
use terminal::{GOOD, TYPE};

/// The chapter whose services run on machines that do not build them.
const CHAPTER: &str = "07";
/// Cargo's profile for what is shipped.
const RELEASE: &str = "release";

#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// The registry and the path there, such as registry.example.org/me
    registry: String,
    /// The solution's image instead of yours
    #[arg(long)]
    solution: bool,
    /// Another chapter's image
    #[arg(long, value_name = "NN", default_value = CHAPTER)]
    chapter: String,
}

pub fn push(paths: &Paths, args: &PushArgs) -> Result<ExitCode> {
    let chapter = Chapter::resolve(&paths.root, &args.chapter)?;
    let variant = Variant::from_flag(args.solution);
    let pushed = until_stopped(async {
        require_engine(paths, super::GET).await?;
        credentials::ensure(paths, &[credentials::BROKER_PASSWORD])?;
        push_one(paths, args, &chapter, variant).await
    })?;
    Ok(pushed.code())
}

async fn push_one(
    paths: &Paths,
    args: &PushArgs,
    chapter: &Chapter,
    variant: Variant,
) -> Result<ExitCode> {
    let project = Project::of(paths, chapter, variant);
    if project.build(RELEASE).await? == Image::CompileError {
        does_not_compile(chapter, variant, None);
        return Ok(ExitCode::FAILURE);
    }
    let there = format!("{}/{}", args.registry.trim_end_matches('/'), project.name);
    docker(&["tag", &project.name, &there]).await?;
    docker(&["push", &there]).await?;
    println!("{GOOD}✔{GOOD:#} pushed; on the other machine: {TYPE}docker pull {there}{TYPE:#}");
    Ok(ExitCode::SUCCESS)
}

async fn docker(args: &[&str]) -> Result<()> {
    let child = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start docker")?;
    let out = child.wait_with_output().await.context("docker went away")?;
    if !out.status.success() {
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        bail!(user_error(
            format!("docker {}: {}", args.join(" "), last_error(&words)),
            "check the registry's name, and log in: docker login REGISTRY",
        ));
    }
    Ok(())
}
