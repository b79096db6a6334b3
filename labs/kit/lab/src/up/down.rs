//! `down NN` removes the chapter's containers, networks and volumes; `logs NN` shows what the
//! containers print.

use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use anstream::println;
use anyhow::{Context, Result, bail};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use super::ports::AMQP;
use command::Which;
use command::project::{Project, require_engine};
use process::stop::{Ended, until_stopped};
use terminal::user_error;
use terminal::{GOOD, interactive};

#[derive(Debug, clap::Args)]
pub struct DownArgs {
    #[command(flatten)]
    which: Which,
    /// Only the solution's containers, not yours
    #[arg(long)]
    solution: bool,
}

#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// The solution's containers, even if yours run
    #[arg(long)]
    solution: bool,
    /// Only these services, such as `broker`; by default all but the broker
    services: Vec<String>,
}

pub fn down(paths: &Paths, args: &DownArgs) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let ended = until_stopped(async {
        require_engine(paths, "start Docker; no container runs without it").await?;
        let mut found = false;
        for &variant in variants(args.solution) {
            let project = Project::of(paths, &chapter, variant);
            if !project.traces().await? {
                continue;
            }
            found = true;
            project.remove().await?;
            println!(
                "{GOOD}✔{GOOD:#} {}: no container, network or volume is left",
                project.name
            );
        }
        if !found {
            println!("Nothing of chapter {} is in containers.", chapter.number);
        }
        Ok(ExitCode::SUCCESS)
    })?;
    Ok(ended.code())
}

pub fn logs(paths: &Paths, args: &LogsArgs) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let running = until_stopped(async {
        require_engine(paths, super::GET).await?;
        running(paths, &chapter, args.solution).await
    })?;
    let (project, services) = match running {
        Ended::Stopped(code) => return Ok(code),
        Ended::Done(running) => running,
    };
    let mut logs = project.command();
    logs.stdin(Stdio::inherit());
    match interactive() {
        true => logs.args(["logs", "--tail", "200", "--follow"]),
        false => logs.args(["--ansi", "never", "logs", "--tail", "200"]),
    };
    logs.args(if args.services.is_empty() {
        &services
    } else {
        &args.services
    });
    let error = logs.into_std().exec();
    Err(error).context("cannot start docker")
}

/// Both trees, or only the solution's with `--solution`.
fn variants(solution: bool) -> &'static [Variant] {
    match solution {
        true => &[Variant::Solution],
        false => &[Variant::Lab, Variant::Solution],
    }
}

/// The running project, yours before the solution's; and its services without the broker,
/// which prints a lot.
async fn running(
    paths: &Paths,
    chapter: &Chapter,
    solution: bool,
) -> Result<(Project, Vec<String>)> {
    for &variant in variants(solution) {
        let project = Project::of(paths, chapter, variant);
        let containers = project.containers().await?;
        if !containers.is_empty() {
            let names = containers.into_iter().map(|one| one.service);
            let names = names.filter(|name| name != AMQP.0).collect();
            return Ok((project, names));
        }
    }
    let (number, flag) = (&chapter.number, Variant::from_flag(solution).flag());
    bail!(user_error(
        format!("nothing of chapter {number} is in containers"),
        format!("just up {number}{flag}"),
    ))
}
