//! `run NN`: the chapter's services, to play with by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use kit::broker::Broker;
use kit::chapter::{Chapter, Variant};
use kit::manifest::{Scene, fill};
use kit::paths::Paths;

use crate::Which;
use crate::broker;
use crate::build::{Built, Product, build};
use crate::cast::{self, Cast, Heard, Part};
use crate::check::does_not_compile;
use crate::saves::Saves;
use crate::stop::asked;
use crate::term::{BOLD, DIM, NOTE, TYPE};
use crate::trouble::{tell, trouble};

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
const TOUCH: Duration = Duration::from_secs(60);

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
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let variant = if args.solution {
        Variant::Solution
    } else {
        Variant::Lab
    };
    let scene = Scene::of(&paths.root, &chapter)?;
    if scene.services.is_empty() {
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
    actix_web::rt::System::new().block_on(play.run())
}

/// What is played, and how.
struct Play<'a> {
    paths: &'a Paths,
    chapter: Chapter,
    variant: Variant,
    scene: Scene,
    watch: bool,
}

/// What the services need around them; it stays when they are started again.
struct Stage {
    broker: Option<Broker>,
    parts: Vec<Part>,
}

type Building<'b> = Pin<Box<dyn Future<Output = Result<Built>> + 'b>>;

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
                    match built {
                        Ok(Built::Program(program)) => {
                            if let Some(old) = cast.take() {
                                old.stop(|heard| self.print(&heard)).await;
                            }
                            if stage.is_none() {
                                stage = tokio::select! {
                                    biased;
                                    code = &mut stop => return Ok(ExitCode::from(code?)),
                                    set = self.set() => Some(set?),
                                };
                            }
                            let parts = stage.as_ref().map_or(&[][..], |stage| &stage.parts);
                            cast = Some(Cast::start(&program, parts)?);
                        }
                        failed => {
                            match failed {
                                // What the machine cannot do at all ends the command.
                                Err(error) if !self.watch => return Err(error),
                                Err(error) => { tell(&error); }
                                Ok(_) => {
                                    let again = (!self.watch).then_some("run");
                                    does_not_compile(&self.chapter, self.variant, again);
                                }
                            }
                            if !self.watch {
                                return Ok(ExitCode::FAILURE);
                            }
                            self.note(match cast {
                                Some(_) => "the services from before this save keep running",
                                None => "waiting for a save",
                            });
                        }
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

    fn build(&self) -> Building<'_> {
        Box::pin(build(
            self.paths,
            &self.chapter,
            self.variant,
            Product::Program,
        ))
    }

    /// Sets the stage: broker, vhost, folder and ports; and says what is where.
    async fn set(&self) -> Result<Stage> {
        let vhost = self.chapter.package(self.variant);
        let broker = match self.scene.broker {
            true => {
                let broker = broker::acquire(self.paths).await?;
                broker
                    .create_vhost(&vhost)
                    .await
                    .with_context(|| format!("cannot make the vhost {vhost}"))?;
                Some(broker)
            }
            false => None,
        };
        let folder = self.chapter.run_folder(self.variant);
        let folder = self.paths.data().join("run").join(folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", self.paths.short(&folder)))?;
        let services = &self.scene.services;
        let wished: Vec<_> = services.iter().map(|s| (s.role.clone(), s.port)).collect();
        let ports = cast::ports(&wished)?;
        let url = broker.as_ref().map(|broker| broker.address.url(&vhost));
        let parts = self.parts(&ports, &folder, url.as_deref())?;
        self.announce(&ports, broker.as_ref(), &vhost, &folder)?;
        Ok(Stage { broker, parts })
    }

    fn parts(
        &self,
        ports: &BTreeMap<String, u16>,
        folder: &Path,
        amqp_url: Option<&str>,
    ) -> Result<Vec<Part>> {
        let part = |service: &kit::manifest::Role| {
            let role = &service.role;
            let database: PathBuf = folder.join(format!("{role}.sqlite"));
            let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
            let mut env = BTreeMap::from([
                ("PORT".to_owned(), ports[role].to_string()),
                ("DATABASE".to_owned(), database.display().to_string()),
                ("RUST_LOG".to_owned(), log),
            ]);
            if let Some(url) = amqp_url {
                env.insert("AMQP_URL".to_owned(), url.to_owned());
            }
            for (name, value) in &service.env {
                env.insert(name.clone(), fill(value, ports)?);
            }
            Ok(Part {
                role: role.clone(),
                env,
            })
        };
        self.scene.services.iter().map(part).collect()
    }

    fn announce(
        &self,
        ports: &BTreeMap<String, u16>,
        broker: Option<&Broker>,
        vhost: &str,
        folder: &Path,
    ) -> Result<()> {
        let kind = match self.variant {
            Variant::Lab => "Lab",
            Variant::Solution => "Solution",
        };
        println!("{BOLD}{kind} {}{BOLD:#}", self.chapter.heading());
        let width = self.width();
        for (index, service) in self.scene.services.iter().enumerate() {
            let (role, colour) = (&service.role, colour(index));
            let port = ports[role];
            print!("  {colour}{role:width$}{colour:#}  http://127.0.0.1:{port}");
            if port == service.port {
                println!();
            } else {
                println!("  {NOTE}({} is taken){NOTE:#}", service.port);
            }
        }
        if let Some(broker) = broker {
            println!("  {:width$}  {}, vhost {vhost}", "broker", broker.label());
            println!("  {:width$}  {}", "", broker.management);
            println!("  {:width$}  {}", "", broker::login(self.paths, broker));
        }
        println!("  {:width$}  {}", "files", self.paths.short(folder));
        if !self.scene.tries.is_empty() {
            println!("Try, in another terminal:");
        }
        for line in &self.scene.tries {
            println!("  {TYPE}{}{TYPE:#}", fill(line, ports)?);
        }
        println!("{DIM}Ctrl-C stops all.{DIM:#}");
        Ok(())
    }

    fn print(&self, heard: &Heard) {
        let (index, text, style) = match heard {
            Heard::Line(index, text) => (*index, text, Style::new()),
            Heard::Ended(index, text) => (*index, text, NOTE),
        };
        let role = self.scene.services.get(index).map_or("", |s| &s.role);
        // The column says whose line it is, so the line need not say it again.
        let text = text.replacen(&format!(" {role}: "), " ", 1);
        let (colour, width) = (colour(index), self.width());
        println!("{colour}{role:width$} |{colour:#} {style}{text}{style:#}");
    }

    fn note(&self, text: &str) {
        println!(
            "{DIM}{:width$} |{DIM:#} {text}",
            "just run",
            width = self.width()
        );
    }

    /// Of the column of names.
    fn width(&self) -> usize {
        let names = self.scene.services.iter().map(|service| service.role.len());
        names.max().unwrap_or(0).max("just run".len())
    }
}

fn colour(index: usize) -> Style {
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
