//! `board NN`: prepares all, serves the page, and ends with Ctrl-C.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use actix_web::dev::Server;
use anstream::{eprintln, println};
use anyhow::{Context, Result};
use broker::OwnNode;
use command::Which;
use command::cargo::{Built, Product, build, does_not_compile};
use command::environment::Environment;
use course::chapter::{Chapter, Variant};
use course::manifest::{ServiceManifest, fill};
use course::paths::Paths;
use process::stop::asked;
use serde_json::{Value, json};
use terminal::{BOLD, DIM, NOTE, TYPE, user_error};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use wiretap::Journal;

use crate::Ask;
use crate::feed::{EVERY, Feed};
use crate::server::Listening;
use crate::services::{Services, Source, calls};

/// How often to say that the broker is in use: a node without use stops after half an hour.
const TOUCH: Duration = Duration::from_secs(60);
/// How many presses of buttons may wait.
const WAITING: usize = 64;

/// What a person types.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The solution's services instead of yours
    #[arg(long)]
    solution: bool,
    /// Print the address only, and open no browser
    #[arg(long)]
    no_open: bool,
}

/// Shows the board until it is stopped.
///
/// # Errors
/// When services, broker or page cannot be started.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let manifest = ServiceManifest::of(&paths.root, &chapter)?;
    if manifest.services.is_empty() {
        let file = paths.short(&chapter.lab.join("Cargo.toml"));
        return Err(user_error(
            format!("chapter {} names no services to show", chapter.name),
            format!("name them in {file}"),
        ));
    }
    let board = Board {
        paths,
        chapter,
        variant: Variant::from_flag(args.solution),
        manifest,
        opens: !args.no_open,
    };
    actix_web::rt::System::new().block_on(async {
        let mut stop = pin!(asked());
        let shown = tokio::select! {
            biased;
            code = &mut stop => return Ok(ExitCode::from(code?)),
            shown = board.prepare() => shown?,
        };
        let Some(shown) = shown else {
            does_not_compile(&board.chapter, board.variant, Some("board"));
            return Ok(ExitCode::FAILURE);
        };
        let services = shown.services.clone();
        let code = tokio::select! {
            biased;
            code = &mut stop => code?,
            failed = shown.go_on() => return failed.map(|()| ExitCode::FAILURE),
        };
        services.stop().await;
        // Ctrl-C is how this command is meant to end.
        Ok(if code == 130 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(code)
        })
    })
}

/// What to show.
struct Board<'a> {
    paths: &'a Paths,
    chapter: Chapter,
    variant: Variant,
    manifest: ServiceManifest,
    opens: bool,
}

/// A board that is shown.
struct Shown {
    _lock: File,
    services: Rc<Services>,
    feed: Feed,
    asks: mpsc::Receiver<Ask>,
    server: Server,
}

impl Board<'_> {
    /// Builds and starts all; gives nothing when the program does not compile.
    async fn prepare(&self) -> Result<Option<Shown>> {
        let product = Product::Program;
        let Built::Program(program) =
            build(self.paths, &self.chapter, self.variant, product).await?
        else {
            return Ok(None);
        };
        let (lock, folder) = self.folder()?;
        let source = self.source().await?;
        let topology = self.manifest.topology.as_ref();
        let topology = topology.map(|file| self.paths.root.join(file));
        let vhost = format!("{}-board", self.chapter.package(self.variant));
        let broker = source.broker().cloned();
        if let Some(broker) = &broker {
            // A board starts empty.
            broker.delete_vhost(&vhost).await?;
        }
        let environment =
            Environment::open(&program, broker, vhost, folder.clone(), topology.as_deref()).await?;
        let journal = Journal::create(&folder, &self.chapter.number, "board", 0)?;
        let peer = match self.manifest.broker {
            true => None,
            false => self.peer(),
        };
        let mut feed = Feed::new(journal.clone(), peer.as_deref());
        if let Some(file) = topology {
            feed.stands_already(&read(&file)?);
        }
        let label = source.broker().map(|broker| broker.label());
        let can_restart = matches!(source, Source::Own(_));
        let lines = self.lines();
        let services =
            Services::start(environment, source, self.manifest.clone(), lines, journal).await?;
        let listening = Listening::open()?;
        let url = listening.url();
        let story = json!({
            "token": listening.token,
            "says": format!("{} {}", self.variant.title(), self.chapter.heading()),
            "broker": label,
            "can_restart": can_restart,
            "why_not": if can_restart { "" } else { "AMQP_URL names this broker: the board must not kill it" },
            "tries": self.tries(&services)?,
            "runs": self.lines().iter().map(|words| words.join(" ")).collect::<Vec<_>>(),
        });
        let (sender, asks) = mpsc::channel(WAITING);
        let server = listening.serve(view::board(&story), sender, feed.updates())?;
        self.print(&url, label.as_deref(), &folder);
        Ok(Some(Shown {
            _lock: lock,
            services: Rc::new(services),
            feed,
            asks,
            server,
        }))
    }

    /// A broker of the board's own, which it may kill; that of `AMQP_URL`, where it is set.
    async fn source(&self) -> Result<Source> {
        if !self.manifest.broker {
            return Ok(Source::None);
        }
        if std::env::var_os("AMQP_URL").is_some_and(|url| !url.is_empty()) {
            return Ok(Source::Given(command::acquire(self.paths).await?));
        }
        let own = OwnNode::acquire(self.paths, &|slow| eprintln!("{DIM}·{DIM:#} {slow}")).await;
        Ok(Source::Own(own.map_err(|no| user_error(no.why, no.mend))?))
    }

    /// An empty folder for databases, logs and the journal, and the lock that keeps another board out of it.
    fn folder(&self) -> Result<(File, PathBuf)> {
        let boards = self.paths.data().join("board");
        let folder = boards.join(self.chapter.run_folder(self.variant));
        let unusable = || format!("cannot make {}", self.paths.short(&folder));
        std::fs::create_dir_all(&boards).with_context(unusable)?;
        let lock = File::create(folder.with_extension("lock")).with_context(unusable)?;
        if lock.try_lock().is_err() {
            let number = &self.chapter.number;
            return Err(user_error(
                format!("a board of chapter {number} runs already, in another terminal"),
                "open its page, or stop it with Ctrl-C",
            ));
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(unusable)?;
        }
        std::fs::create_dir(&folder).with_context(unusable)?;
        Ok((lock, folder))
    }

    /// The service that the others call over HTTP.
    fn peer(&self) -> Option<String> {
        let ports = self.manifest.ports();
        let mut services = self.manifest.services.iter();
        services.find_map(|entry| calls(entry, &ports))
    }

    /// What the lines to try start: the words after `just run NN`.
    fn lines(&self) -> Vec<Vec<String>> {
        let begin = format!("just run {} ", self.chapter.number);
        let lines = self.manifest.tries.iter();
        let lines = lines.filter_map(|line| line.strip_prefix(&begin));
        lines.filter_map(shlex::split).collect()
    }

    /// The other lines to try, for a terminal.
    fn tries(&self, services: &Services) -> Result<Vec<String>> {
        let others = self.manifest.tries.iter();
        let others = others.filter(|line| !line.starts_with("just run "));
        others.map(|line| fill(line, &services.ports())).collect()
    }

    fn print(&self, url: &str, broker: Option<&str>, folder: &Path) {
        let (kind, heading) = (self.variant.title(), self.chapter.heading());
        println!("{BOLD}{kind} {heading}, live{BOLD:#}");
        println!("  page    {TYPE}{url}{TYPE:#}");
        if let Some(broker) = broker {
            println!("  broker  {broker}");
        }
        println!("  files   {}", self.paths.short(folder));
        println!("{DIM}Ctrl-C stops all.{DIM:#}");
        if self.opens
            && terminal::has_screen()
            && let Err(error) = open::that_detached(url)
        {
            eprintln!("{NOTE}·{NOTE:#} open the page in a browser: no program did ({error})");
        }
    }
}

impl Shown {
    /// Obeys the page and tells it what happens; ends only when the server does.
    async fn go_on(mut self) -> Result<()> {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut touch = interval(TOUCH);
        loop {
            tokio::select! {
                ended = &mut self.server => return ended.context("the board's server has ended"),
                Some(ask) = self.asks.recv() => self.answer(ask),
                _ = tick.tick() => self.feed.pump(&self.services.controls()),
                _ = touch.tick() => self.services.touch_broker(),
            }
        }
    }

    /// A closed channel means that the page no longer waits for the answer.
    fn answer(&self, ask: Ask) {
        let feed = &self.feed;
        match ask {
            Ask::Whole(skipped, answer) => {
                let _ = answer.send(feed.whole(&self.services.controls(), skipped));
            }
            Ask::Life(id, answer) => {
                let _ = answer.send(feed.life(&id));
            }
            Ask::Do(action, answer) => {
                let services = self.services.clone();
                // It takes as long as the broker's start; the page goes on meanwhile.
                actix_web::rt::spawn(async move {
                    let _ = answer.send(services.perform(action).await);
                });
            }
        }
    }
}

fn read(file: &Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}
