//! The fixture for one language and one chapter: a vhost, a folder, and the chapter's services and the
//! foreign program as real processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use broker::Broker;
use course::paths::Paths;
use process::{Launch, Process};

use super::CHAPTERS;
use super::language::Language;
use proof::{Scratch, soon, until_within};

/// On a new machine the other language's packages are installed meanwhile: once a program that had just
/// started printed nothing for 10 s.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Fixture {
    broker: Broker,
    vhost: String,
    chapter: &'static str,
    ours: PathBuf,
    theirs: (PathBuf, PathBuf),
    scratch: Scratch,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// The header `view-id`.
    pub id: String,
    pub body: String,
}

impl Fixture {
    pub async fn open(language: Language, chapter: &'static str) -> Result<Self> {
        let paths = Paths::find()?;
        let theirs = language.program(&paths.data())?;
        build(&paths)?;
        let broker = Broker::acquire(&paths, &|slow| eprintln!("{slow}")).await?;
        let name = format!("foreign-{}-{chapter}", language.name());
        // Named like a check's vhost, so that the next run deletes what a killed run leaves.
        let vhost = format!("lab.{}.{name}", std::process::id());
        broker.create_vhost(&vhost).await?;
        let scratch = Scratch::new(&name);
        Ok(Self {
            broker,
            vhost,
            chapter,
            ours: paths.target.join(format!("debug/solution-{chapter}")),
            theirs,
            scratch,
        })
    }

    pub async fn close(&self) -> Result<()> {
        self.broker.delete_vhost(&self.vhost).await
    }

    /// Starts one of the chapter's own services, and returns it with a port. A service without HTTP
    /// ignores the port.
    pub async fn service(&self, arguments: &[&str]) -> Result<(Process, u16)> {
        let role = arguments[0];
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let process = self.start(role, self.ours.clone(), arguments, port).await?;
        Ok((process, port))
    }

    /// Starts the foreign program.
    pub async fn joins(&self, action: &str) -> Result<Process> {
        let (program, script) = &self.theirs;
        let script = script.display().to_string();
        let arguments = vec![script, action.to_owned(), self.chapter.to_owned()];
        self.start(action, program.clone(), arguments, 0).await
    }

    async fn start(
        &self,
        name: &str,
        program: PathBuf,
        arguments: Vec<String>,
        port: u16,
    ) -> Result<Process> {
        let database = self.scratch.path().join(format!("{name}.sqlite"));
        let environment = BTreeMap::from([
            ("AMQP_URL".to_owned(), self.broker.address.url(&self.vhost)),
            ("DATABASE".to_owned(), database.display().to_string()),
            ("PORT".to_owned(), port.to_string()),
            ("RUST_LOG".to_owned(), "info".to_owned()),
        ]);
        let launch = Launch {
            program,
            name: name.to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment,
            log: Some(self.log(name)),
        };
        Process::start(&launch, |_| ()).await
    }

    fn log(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.log"))
    }

    /// Waits until `name` has printed `words`, and returns the rest of that line.
    pub async fn says(&self, name: &str, words: &str) -> Result<String> {
        let log = || fs::read_to_string(self.log(name)).unwrap_or_default();
        let rest = |text: &str| {
            let lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let mut rests = lines.filter_map(|line| line.trim_end().split_once(words));
            rests.next().map(|(_, rest)| rest.to_owned())
        };
        let what = format!("{name} prints `{words}`");
        let waited = until_within(PATIENCE, &what, || rest(&log()).is_some()).await;
        waited.with_context(|| format!("{name} printed:\n{}", log()))?;
        rest(&log()).context(what)
    }

    /// Waits until the queue has no message, ready or unacked.
    pub async fn emptied(&self, queue: &str) -> Result<()> {
        self.eventually(&format!("`{queue}` is empty"), async || {
            let queue = self.broker.queue(&self.vhost, queue).await?;
            Ok(queue.is_some_and(|queue| queue.ready + queue.unacked == 0))
        })
        .await
    }

    pub async fn eventually(
        &self,
        what: &str,
        is_so: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await? {
            ensure!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(PATIENCE / 1500).await;
        }
        Ok(())
    }

    /// Sends a GET request to one of our services, once it listens.
    pub async fn get(&self, port: u16, path: &str) -> Result<Answer> {
        let url = format!("http://127.0.0.1:{port}{path}");
        let what = format!("port {port} listens");
        until_within(PATIENCE, &what, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await?;
        let client = awc::Client::builder().timeout(PATIENCE).finish();
        let answer = soon(&url, client.get(&url).send()).await?;
        let mut answer = answer.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
        let id = answer.headers().get("view-id").cloned();
        let body = answer.body().limit(16 << 20).await?;
        Ok(Answer {
            id: id.map_or_else(String::new, |id| id.to_str().unwrap_or_default().to_owned()),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// Stops one of our services with SIGTERM, so that it consumes no more messages.
pub async fn stop(service: &Process) -> Result<()> {
    service.terminate()?;
    service.end(PATIENCE).await?;
    Ok(())
}

/// Builds the solutions' programs, once.
fn build(paths: &Paths) -> Result<()> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().map_err(|_| anyhow::anyhow!("not built"))?;
    if *built {
        return Ok(());
    }
    // Together with `check`, as everywhere else: cargo unites the features of what it builds.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "check"]);
    for chapter in CHAPTERS {
        cargo.args(["-p", &format!("solution-{chapter}")]);
    }
    cargo.current_dir(&paths.root);
    cargo.env("CARGO_TARGET_DIR", &paths.target);
    let output = cargo.output().context("cargo cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the solutions do not build:\n{said}"
    );
    *built = true;
    Ok(())
}
