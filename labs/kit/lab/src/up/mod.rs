//! `up NN`: starts the chapter's services in containers, from `compose/NN-name.yml`, or one
//! program in a container beside them ([`one_container`]). Also `down`, `logs` and `push`.

mod down;
mod one_container;
mod places;
mod ports;
mod push;
mod ready;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::{eprintln, println};
use anyhow::{Context, Result, bail};
use course::chapter::{Chapter, Variant};
use course::manifest::ServiceManifest;
use course::paths::Paths;

pub use down::{DownArgs, LogsArgs, down, logs};
pub use push::{PushArgs, push};

use crate::saves::Saves;
use command::Which;
use command::cargo::does_not_compile;
use command::credentials;
use process::stop::{Ended, until_stopped};
use terminal::{BAD, DIM, GOOD, TYPE};
use terminal::{tell, user_error};

use command::image::{Image, QUICK};
use command::project::{Project, explain, require_engine};
use ports::Ports;

/// What to do when no engine answers.
const GET: &str = "start Docker, or install it with Compose 2.22 or later";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The solution's services instead of yours
    #[arg(long)]
    solution: bool,
    /// Build and start them again at each save; Ctrl-C ends the watching, not the containers
    #[arg(long)]
    watch: bool,
    /// With --watch: read the files each second, for drives that report no saves, such as
    /// Windows' under WSL or a network drive
    #[arg(long, requires = "watch")]
    poll: bool,
    /// Run only this program of the chapter, on this terminal, beside the others
    role: Option<String>,
    /// The program's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    if args.role.is_some() && args.watch {
        bail!("--watch goes with all of the chapter's services, not with one program");
    }
    let containers = Containers::of(paths, chapter, Variant::from_flag(args.solution))?;
    if let Some(role) = &args.role {
        return containers.one_role(role, &args.args);
    }
    let watch = args.watch.then_some(args.poll);
    let ended = until_stopped(async {
        require_engine(paths, &containers.natively()).await?;
        containers.up(watch).await
    })?;
    Ok(match ended {
        // Ctrl-C is how watching is meant to end.
        Ended::Stopped(code) if args.watch && code == ExitCode::from(130) => {
            eprintln!();
            containers.note(&format!("no longer watching; {}", containers.how_to_end()));
            ExitCode::SUCCESS
        }
        ended => ended.code(),
    })
}

/// A chapter's services in containers, or to be started there.
struct Containers<'a> {
    paths: &'a Paths,
    chapter: Chapter,
    variant: Variant,
    manifest: ServiceManifest,
    project: Project,
    /// Its file, in `compose/`.
    file: PathBuf,
}

impl<'a> Containers<'a> {
    fn of(paths: &'a Paths, chapter: Chapter, variant: Variant) -> Result<Self> {
        let file = PathBuf::from(format!("{}.yml", chapter.name));
        let folder = paths.root.join("compose");
        if !folder.join(&file).is_file() {
            bail!(no_file(&folder, &chapter));
        }
        Ok(Self {
            manifest: ServiceManifest::of(&paths.root, &chapter)?,
            project: Project::of(paths, &chapter, variant),
            paths,
            chapter,
            variant,
            file,
        })
    }

    /// What to type where there is no engine.
    fn natively(&self) -> String {
        format!(
            "just run {}{}, which needs none; or {GET}",
            self.chapter.number,
            self.variant.flag()
        )
    }

    fn how_to_end(&self) -> String {
        format!(
            "the containers run until: just down {}",
            self.chapter.number
        )
    }

    /// Builds and starts the services; with `watch` again at each save, forever. `watch` says
    /// whether to poll the files.
    async fn up(&self, watch: Option<bool>) -> Result<ExitCode> {
        let folder = self.chapter.folder(self.variant);
        let saves = watch.map(|poll| match poll {
            true => Saves::polled(folder),
            false => Saves::of(folder),
        });
        let mut told = false;
        let Some(mut saves) = saves.transpose()? else {
            let code = self.make(&mut told).await?;
            println!("{DIM}{}{DIM:#}", self.how_to_end());
            return Ok(code);
        };
        let mut outcome = self.make(&mut told).await;
        loop {
            if let Err(error) = outcome {
                tell(&error);
            }
            self.note("waiting for a save; Ctrl-C ends that");
            saves.changed().await;
            outcome = loop {
                saves.settle().await;
                self.note("saved: building again");
                tokio::select! {
                    biased;
                    // What is being built is out of date.
                    () = saves.changed() => {}
                    outcome = self.make(&mut told) => break outcome,
                }
            };
        }
    }

    /// Builds and starts the services and waits until they are ready; prints where they are
    /// the first time.
    async fn make(&self, told: &mut bool) -> Result<ExitCode> {
        credentials::ensure(self.paths, &[credentials::BROKER_PASSWORD])?;
        if self.project.build(QUICK).await? == Image::CompileError {
            does_not_compile(&self.chapter, self.variant, None);
            return Ok(ExitCode::FAILURE);
        }
        let ports = self.start().await?;
        if !std::mem::replace(told, true) {
            self.print_overview(&ports);
        }
        self.wait(&ports).await
    }

    /// Starts what does not run yet: Compose leaves the rest alone.
    async fn start(&self) -> Result<Ports> {
        let ports = self.ports().await?;
        if self.manifest.broker {
            self.note("starting the containers; the broker takes a few seconds");
        }
        let started = self
            .project
            .command_with(&self.file)
            .args(["--ansi", "never", "up", "--detach", "--no-build"])
            // A new broker, with a new password, must not find the old one's data.
            .arg("--renew-anon-volumes")
            .envs(&ports.variables)
            .output()
            .await
            .context("cannot start docker")?;
        if !started.status.success() {
            let words = String::from_utf8_lossy(&started.stderr);
            let what = format!("chapter {} does not start", self.chapter.number);
            bail!(explain(&what, &words));
        }
        Ok(ports)
    }

    /// Waits until every service is ready, or prints which is not, and its last lines.
    async fn wait(&self, ports: &Ports) -> Result<ExitCode> {
        let Some(service) = self.wait_until_ready(ports).await? else {
            println!("{GOOD}✔{GOOD:#} all services are up");
            return Ok(ExitCode::SUCCESS);
        };
        let lines = self.last_lines(&service).await?;
        eprintln!("{BAD}✘{BAD:#} {service} does not stay up; its last lines:");
        for line in lines.lines() {
            eprintln!("    {line}");
        }
        let (number, flag) = (&self.chapter.number, self.variant.flag());
        eprintln!("  more: {TYPE}just logs {number}{flag} {service}{TYPE:#}");
        Ok(ExitCode::FAILURE)
    }

    async fn last_lines(&self, service: &str) -> Result<String> {
        let logs = [
            "logs",
            "--no-log-prefix",
            "--no-color",
            "--tail",
            "6",
            service,
        ];
        let logs = self.project.command().args(logs).output().await;
        let logs = logs.context("cannot start docker")?;
        Ok(String::from_utf8_lossy(&logs.stdout).into_owned())
    }

    fn note(&self, text: &str) {
        eprintln!("{DIM}·{DIM:#} {text}");
    }
}

/// The error for a chapter without a file of its own: it has none, or one a machine.
fn no_file(folder: &std::path::Path, chapter: &Chapter) -> anyhow::Error {
    let files = course::holes::files(folder).unwrap_or_default();
    let start = format!("{}-", chapter.number);
    let names = files.iter().filter_map(|file| file.to_str());
    let names = names.filter(|name| name.starts_with(&start) && name.ends_with(".yml"));
    let names: Vec<String> = names.map(|name| format!("compose/{name}")).collect();
    let number = &chapter.number;
    if names.is_empty() {
        let mend = format!("just run {number}");
        return user_error(format!("chapter {number} has no compose file"), mend);
    }
    user_error(
        format!(
            "chapter {number} runs on several machines: {}",
            names.join(", ")
        ),
        format!(
            "just demo --local runs it on this one; for real ones, read labs/{}/TWO-VMS.md",
            chapter.name
        ),
    )
}
