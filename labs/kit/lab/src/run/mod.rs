//! `run NN`: starts the chapter's services on this machine, or one program of it ([`one_role`]).

mod one_role;
mod prepared;

use std::ffi::OsString;
use std::future::Future;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};
use anstyle::Style;
use anyhow::{Result, bail};
use course::chapter::{Chapter, Variant};
use course::manifest::{ServiceEntry, ServiceManifest};
use course::paths::Paths;

use self::prepared::Prepared;
use crate::overview::colour;
use crate::saves::Saves;
use command::Which;
use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use process::stop::asked;
use process::{Heard, Supervisor};
use terminal::{DIM, NOTE};
use terminal::{tell, user_error};

/// How often to say that the broker is in use: a node of ours without use stops after half
/// an hour, and services that only wait for messages use it, too.
pub const TOUCH: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The solution's services instead of yours
    #[arg(long)]
    solution: bool,
    /// Build and start them again at each save
    #[arg(long)]
    watch: bool,
    /// Run only this program of the chapter, on this terminal
    role: Option<String>,
    /// The program's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let manifest = ServiceManifest::of(&paths.root, &chapter)?;
    if args.role.is_some() && args.watch {
        bail!("--watch goes with all of the chapter's services, not with one program");
    }
    if args.role.is_none() && manifest.services.is_empty() {
        return Err(user_error(
            format!("chapter {} names no services to run", chapter.name),
            format!(
                "name them in {}",
                paths.short(&chapter.lab.join("Cargo.toml"))
            ),
        ));
    }
    let run = Run {
        paths,
        chapter,
        variant: Variant::from_flag(args.solution),
        manifest,
        watch: args.watch,
    };
    actix_web::rt::System::new().block_on(async {
        match &args.role {
            Some(role) => run.one_role(role, &args.args).await,
            None => run.all().await,
        }
    })
}

/// What to run, and how.
pub struct Run<'a> {
    pub paths: &'a Paths,
    pub chapter: Chapter,
    pub variant: Variant,
    pub manifest: ServiceManifest,
    watch: bool,
}

/// A build in progress. Dropping it ends cargo.
pub type Building<'b> = Pin<Box<dyn Future<Output = Result<Built>> + 'b>>;

impl Run<'_> {
    /// Builds and starts all services and passes on what they print, until they are stopped.
    async fn all(&self) -> Result<ExitCode> {
        let mut stop = pin!(asked());
        let mut saves = match self.watch {
            true => Some(Saves::of(self.chapter.folder(self.variant))?),
            false => None,
        };
        let mut building: Option<Building<'_>> = Some(self.build());
        let mut prepared: Option<Prepared> = None;
        let mut services: Option<Supervisor> = None;
        let mut touch = tokio::time::interval(TOUCH);
        loop {
            tokio::select! {
                biased;
                code = &mut stop => {
                    let code = code?;
                    if let Some(services) = services {
                        eprintln!();
                        self.stop(services).await;
                        // Ctrl-C is how this command is meant to end.
                        return Ok(if code == 130 { ExitCode::SUCCESS } else { ExitCode::from(code) });
                    }
                    return Ok(ExitCode::from(code));
                }
                saved = changed(&mut saves) => {
                    // What is being built is out of date: cargo ends with it.
                    drop(building.take());
                    saved.settle().await;
                    self.note("saved: building again");
                    building = Some(self.build());
                }
                built = finished(&mut building) => {
                    building = None;
                    let over = tokio::select! {
                        biased;
                        code = &mut stop => Some(ExitCode::from(code?)),
                        over = self.restart(built, &mut prepared, &mut services) => over?,
                    };
                    if let Some(code) = over {
                        return Ok(code);
                    }
                }
                heard = next(&mut services) => match heard {
                    Some(Heard::Line(index, text)) => self.print(index, &text, Style::new()),
                    Some(Heard::Ended(index, exit)) => {
                        self.print(index, &format!("ended by itself: {exit}"), NOTE);
                    }
                    None if self.watch => {
                        services = None;
                        self.note("all services have ended; waiting for a save");
                    }
                    None => {
                        self.note("all services have ended");
                        return Ok(ExitCode::FAILURE);
                    }
                },
                _ = touch.tick() => {
                    if let Some(prepared) = &prepared {
                        prepared.environment.touch_broker();
                    }
                }
            }
        }
    }

    /// Starts what was built, in place of what runs, or says why not; gives an exit code when
    /// that ends the command.
    async fn restart(
        &self,
        built: Result<Built>,
        prepared: &mut Option<Prepared>,
        services: &mut Option<Supervisor>,
    ) -> Result<Option<ExitCode>> {
        let again = (!self.watch).then_some("run");
        match built {
            Ok(Built::Program(program)) => {
                if let Some(old) = services.take() {
                    self.stop(old).await;
                }
                let launches = match prepared {
                    Some(prepared) => &prepared.launches,
                    None => &prepared.insert(self.prepare(&program).await?).launches,
                };
                match Supervisor::start(launches).await {
                    Ok(started) => {
                        *services = Some(started);
                        return Ok(None);
                    }
                    Err(error) if !self.watch => return Err(error),
                    Err(error) => drop(tell(&error)),
                }
            }
            Ok(Built::CompileError) => does_not_compile(&self.chapter, self.variant, again),
            // A problem of this machine ends the command.
            Err(error) if !self.watch => return Err(error),
            Err(error) => drop(tell(&error)),
        }
        if !self.watch {
            return Ok(Some(ExitCode::FAILURE));
        }
        self.note(match services {
            Some(_) => "the services from before this save keep running",
            None => "waiting for a save",
        });
        Ok(None)
    }

    /// Ends the services and prints their last lines.
    async fn stop(&self, services: Supervisor) {
        let print = |heard| match heard {
            Heard::Line(index, text) => self.print(index, &text, Style::new()),
            Heard::Ended(index, _) => self.print(index, "stopped", NOTE),
        };
        services.stop(print).await;
    }

    /// Starts a build of the chapter's program.
    pub fn build(&self) -> Building<'_> {
        Box::pin(build(
            self.paths,
            &self.chapter,
            self.variant,
            Product::Program,
        ))
    }

    /// Prints a line under the name of the service with this index.
    fn print(&self, index: usize, text: &str, style: Style) {
        let service = &self.manifest.services[index];
        let (name, text) = (&service.name, without_name(text, service));
        let (colour, width) = (colour(index), self.width());
        println!("{colour}{name:width$} |{colour:#} {style}{text}{style:#}");
    }

    fn note(&self, text: &str) {
        println!(
            "{DIM}{:width$} |{DIM:#} {text}",
            "just run",
            width = self.width()
        );
    }

    /// The width of the column of names.
    fn width(&self) -> usize {
        let names = self
            .manifest
            .services
            .iter()
            .map(|service| service.name.len());
        names.max().unwrap_or(0).max("just run".len())
    }
}

/// A line of a service's log without its role, alone or with the argument that names it: the
/// column before it says whose line it is.
fn without_name(line: &str, service: &ServiceEntry) -> String {
    let role = &service.role;
    match service.args.first() {
        Some(name) => line.replacen(&format!(" {role} {name}: "), " ", 1),
        None => line.replacen(&format!(" {role}: "), " ", 1),
    }
}

/// Waits for a save; forever when none is looked for.
async fn changed(saves: &mut Option<Saves>) -> &mut Saves {
    match saves {
        Some(saves) => {
            saves.changed().await;
            saves
        }
        None => std::future::pending().await,
    }
}

/// Waits for the build; forever when there is none.
async fn finished(building: &mut Option<Building<'_>>) -> Result<Built> {
    match building {
        Some(building) => building.await,
        None => std::future::pending().await,
    }
}

/// What is heard next; waits forever when no service runs.
async fn next(services: &mut Option<Supervisor>) -> Option<Heard> {
    match services {
        Some(services) => services.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        run: Args,
    }

    fn parsed(line: &str) -> Result<Args, String> {
        let words = std::iter::once("run").chain(line.split_whitespace());
        let parsed = Cli::try_parse_from(words);
        parsed.map(|cli| cli.run).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_after_the_role_are_the_programs() {
        let args = parsed("03 --solution producer --burst --count 20 --watch --help").unwrap();
        assert!(args.solution && !args.watch);
        assert_eq!(args.role.as_deref(), Some("producer"));
        assert_eq!(args.args, ["--burst", "--count", "20", "--watch", "--help"]);
        let args = parsed("03 --watch").unwrap();
        assert!(args.watch && args.role.is_none());
    }

    #[test]
    fn a_misspelt_flag_is_not_a_role() {
        for line in ["03 --solutoin", "03 --solutoin worker", "--wacht 03"] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains("unexpected argument"), "{line}: {error}");
        }
    }
}
