//! `run NN`: the chapter's services, to play with by hand; or one program of it: [`solo`].

pub mod environment;
pub mod joined;
mod solo;

use std::ffi::OsString;
use std::future::Future;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use anyhow::{Result, bail};
use course::chapter::{Chapter, Variant};
use course::manifest::{Role, Scene};
use course::paths::Paths;

use self::environment::Stage;
use crate::saves::Saves;
use command::Which;
use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use process::cast::{Cast, Heard};
use process::stop::asked;
use terminal::{DIM, NOTE};
use terminal::{tell, trouble};

/// One colour a service; a seventh begins anew.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Green,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// A node of ours that nobody uses stops after half an hour; services that only wait for
/// messages use it too.
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
    let variant = if args.solution {
        Variant::Solution
    } else {
        Variant::Lab
    };
    let scene = Scene::of(&paths.root, &chapter)?;
    if args.role.is_some() && args.watch {
        bail!("--watch goes with all of the chapter's services, not with one program");
    }
    if args.role.is_none() && scene.services.is_empty() {
        return Err(trouble(
            format!("chapter {} names no services to run", chapter.name),
            format!(
                "name them in {}",
                paths.short(&chapter.lab.join("Cargo.toml"))
            ),
        ));
    }
    let play = Play {
        paths,
        chapter,
        variant,
        scene,
        watch: args.watch,
    };
    actix_web::rt::System::new().block_on(async {
        match &args.role {
            Some(role) => play.solo(role, &args.args).await,
            None => play.run().await,
        }
    })
}

/// What is played, and how.
pub struct Play<'a> {
    pub paths: &'a Paths,
    pub chapter: Chapter,
    pub variant: Variant,
    pub scene: Scene,
    watch: bool,
}

/// A build under way. Dropped, it takes cargo with it.
pub type Building<'b> = Pin<Box<dyn Future<Output = Result<Built>> + 'b>>;

impl Play<'_> {
    async fn run(&self) -> Result<ExitCode> {
        let mut stop = pin!(asked());
        let mut saves = match self.watch {
            true => Some(Saves::of(self.chapter.folder(self.variant))?),
            false => None,
        };
        let mut building: Option<Building<'_>> = Some(self.build());
        let mut stage: Option<Stage> = None;
        let mut cast: Option<Cast> = None;
        let mut touch = tokio::time::interval(TOUCH);
        loop {
            tokio::select! {
                biased;
                code = &mut stop => {
                    let code = code?;
                    if let Some(cast) = cast {
                        eprintln!();
                        cast.stop(|heard| self.print(&heard)).await;
                        // Ctrl-C is how this command is meant to end.
                        return Ok(if code == 130 { ExitCode::SUCCESS } else { ExitCode::from(code) });
                    }
                    return Ok(ExitCode::from(code));
                }
                saved = changed(&mut saves) => {
                    // Out of date: cargo goes with it.
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
                        over = self.take_up(built, &mut stage, &mut cast) => over?,
                    };
                    if let Some(code) = over {
                        return Ok(code);
                    }
                }
                heard = next(&mut cast) => match heard {
                    Some(heard) => self.print(&heard),
                    None if self.watch => {
                        cast = None;
                        self.note("all services have ended; waiting for a save");
                    }
                    None => {
                        self.note("all services have ended");
                        return Ok(ExitCode::FAILURE);
                    }
                },
                _ = touch.tick() => {
                    if let Some(broker) = stage.as_ref().and_then(|stage| stage.broker.as_ref()) {
                        broker.touch();
                    }
                }
            }
        }
    }

    /// Starts what was built, or says why not; gives an exit code when that ends all.
    async fn take_up(
        &self,
        built: Result<Built>,
        stage: &mut Option<Stage>,
        cast: &mut Option<Cast>,
    ) -> Result<Option<ExitCode>> {
        let again = (!self.watch).then_some("run");
        match built {
            Ok(Built::Program(program)) => {
                if let Some(old) = cast.take() {
                    old.stop(|heard| self.print(&heard)).await;
                }
                if stage.is_none() {
                    *stage = Some(self.set(&program).await?);
                }
                let parts = stage.as_ref().map_or(&[][..], |stage| &stage.parts);
                *cast = Some(Cast::start(&program, parts)?);
                return Ok(None);
            }
            Ok(Built::CompileError) => does_not_compile(&self.chapter, self.variant, again),
            // What the machine cannot do at all ends the command.
            Err(error) if !self.watch => return Err(error),
            Err(error) => drop(tell(&error)),
        }
        if !self.watch {
            return Ok(Some(ExitCode::FAILURE));
        }
        self.note(match cast {
            Some(_) => "the services from before this save keep running",
            None => "waiting for a save",
        });
        Ok(None)
    }

    pub fn build(&self) -> Building<'_> {
        Box::pin(build(
            self.paths,
            &self.chapter,
            self.variant,
            Product::Program,
        ))
    }

    fn print(&self, heard: &Heard) {
        let (index, text, style) = match heard {
            Heard::Line(index, text) => (*index, text, Style::new()),
            Heard::Ended(index, text) => (*index, text, NOTE),
        };
        let service = self.scene.services.get(index);
        let name = service.map_or("", |service| &service.name);
        // The column says whose line it is, so the line need not say it again.
        let text = service.map_or_else(|| text.clone(), |service| without_name(text, service));
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

    /// Of the column of names.
    pub fn width(&self) -> usize {
        let names = self.scene.services.iter().map(|service| service.name.len());
        names.max().unwrap_or(0).max("just run".len())
    }
}

/// A line of a service's log without its role, alone or with the argument that names it.
fn without_name(line: &str, service: &Role) -> String {
    let role = &service.role;
    match service.args.first() {
        Some(name) => line.replacen(&format!(" {role} {name}: "), " ", 1),
        None => line.replacen(&format!(" {role}: "), " ", 1),
    }
}

/// The colour of the service with this index.
pub fn colour(index: usize) -> Style {
    COLOURS[index % COLOURS.len()].on_default()
}

/// Waits for a save; for ever where none is looked for.
async fn changed(saves: &mut Option<Saves>) -> &mut Saves {
    match saves {
        Some(saves) => {
            saves.changed().await;
            saves
        }
        None => std::future::pending().await,
    }
}

/// Waits for the build; for ever where there is none.
async fn finished(building: &mut Option<Building<'_>>) -> Result<Built> {
    match building {
        Some(building) => building.await,
        None => std::future::pending().await,
    }
}

/// What is heard next; for ever nothing where nobody plays.
async fn next(cast: &mut Option<Cast>) -> Option<Heard> {
    match cast {
        Some(cast) => cast.next().await,
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
    fn what_comes_after_the_role_is_the_programs() {
        let args = parsed("03 --solution producer --burst --count 20 --watch --help").unwrap();
        assert!(args.solution && !args.watch);
        assert_eq!(args.role.as_deref(), Some("producer"));
        assert_eq!(args.args, ["--burst", "--count", "20", "--watch", "--help"]);
        let args = parsed("03 --watch").unwrap();
        assert!(args.watch && args.role.is_none());
    }

    #[test]
    fn a_misspelt_flag_is_no_role() {
        for line in ["03 --solutoin", "03 --solutoin worker", "--wacht 03"] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains("unexpected argument"), "{line}: {error}");
        }
    }
}
