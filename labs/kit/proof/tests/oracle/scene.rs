//! What the oracle watches: two real services and a scripted client, each behind its own wiretap.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use broker::Broker;
use course::paths::Paths;
use process::{Launch, Process};
use proof::{PATIENCE, Scratch, until};
use wiretap::{Journal, Method, Wiretap};

use super::script;

/// The wiretap of the scripted client.
const SCRIPT: &str = "script";
const SERVICES: [&str; 3] = ["video-streaming", "history", SCRIPT];
/// How many views are published, and how many of them at the same time.
const VIEWS: [usize; 2] = [48, 8];

pub struct Scene {
    broker: Broker,
    vhost: String,
    program: PathBuf,
    taps: Vec<Wiretap>,
    journal: Journal,
    scratch: Scratch,
}

impl Scene {
    /// The services, of this program of solution 02, are not started yet.
    pub async fn open(paths: &Paths, program: PathBuf) -> Result<Self> {
        let broker = Broker::acquire(paths, &|slow| eprintln!("{slow}")).await?;
        // Named like a check's vhost, so that the next run deletes what a killed run leaves.
        let vhost = format!("lab.{}.oracle", std::process::id());
        broker.create_vhost(&vhost).await?;
        let scratch = Scratch::new("oracle");
        let journal = Journal::create(scratch.path(), "02", "oracle", 1)?;
        let mut taps = Vec::new();
        for service in SERVICES {
            let (host, port) = (&broker.address.host, broker.address.port);
            taps.push(Wiretap::open(service, host, port, &journal)?);
        }
        Ok(Self {
            broker,
            vhost,
            program,
            taps,
            journal,
            scratch,
        })
    }

    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// The journal's file, with everything in it.
    pub fn journal(&self) -> &Path {
        self.journal.path()
    }

    /// The service behind each wiretap's port.
    pub fn ports(&self) -> BTreeMap<u16, &'static str> {
        let ports = self.taps.iter().map(|tap| tap.port());
        ports.zip(SERVICES).collect()
    }

    /// The broker's URL through the wiretap of `service`.
    fn url(&self, service: &str) -> Result<String> {
        let at = SERVICES.iter().position(|name| *name == service);
        let port = self.taps[at.context("no such service")?].port();
        Ok(self.broker.address.at("127.0.0.1", port).url(&self.vhost))
    }

    /// Views are published, consumed, and redelivered; the script runs, and a broken view is rejected.
    pub async fn play(&self) -> Result<()> {
        let (history, _) = self.start("history").await?;
        let (web, port) = self.start("video-streaming").await?;
        let [all, at_once] = VIEWS;
        for _ in 0..all / at_once {
            let calls: Vec<_> = (0..at_once)
                .map(|_| actix_web::rt::spawn(view(port)))
                .collect();
            for call in calls {
                call.await??;
            }
        }
        self.settled("history", all).await?;
        // What is delivered to a frozen `history` is redelivered to the next one.
        history.freeze()?;
        for _ in 0..5 {
            view(port).await?;
        }
        let delivered = || self.journal.methods("history", Method::BasicDeliver).len();
        until("five more deliveries", || delivered() == all + 5).await?;
        history.terminate()?;
        history.thaw()?;
        history.end(PATIENCE).await?;
        let (history, _) = self.start("history").await?;
        self.settled("history", all + 5).await?;
        script::run(&self.url(SCRIPT)?, &self.broker, &self.vhost).await?;
        // Published by the script, and not JSON.
        self.settled("history", all + 6).await?;
        for service in [history, web] {
            service.terminate()?;
            service.end(PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits until `service` has settled so many deliveries.
    async fn settled(&self, service: &str, count: usize) -> Result<()> {
        let settled = || {
            let by = |method| self.journal.methods(service, method).len();
            by(Method::BasicAck) + by(Method::BasicReject)
        };
        until(&format!("{service} settles {count}"), || settled() == count).await
    }

    /// Starts a role of solution 02, and returns it with its HTTP port once it listens.
    async fn start(&self, role: &str) -> Result<(Process, u16)> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = |end: &str| self.dir().join(format!("{role}.{end}"));
        let database = file("sqlite").display().to_string();
        let launch = Launch {
            program: self.program.clone(),
            name: role.to_owned(),
            arguments: vec![role.into()],
            environment: BTreeMap::from([
                ("AMQP_URL".to_owned(), self.url(role)?),
                ("DATABASE".to_owned(), database),
                ("PORT".to_owned(), port.to_string()),
            ]),
            log: Some(file("log")),
        };
        let process = Process::start(&launch, |_| ()).await?;
        until(&format!("{role} listens"), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await?;
        Ok((process, port))
    }

    pub async fn close(self) -> Result<()> {
        self.broker.delete_vhost(&self.vhost).await
    }
}

/// Builds solution 02, and returns its program.
pub fn build(paths: &Paths) -> Result<PathBuf> {
    // Together with `check`, as everywhere else: cargo unites the features of what it builds.
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "check", "-p", "solution-02"])
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .status()?;
    ensure!(built.success(), "solution 02 does not build");
    Ok(paths.target.join("debug/solution-02"))
}

/// Watches the film.
async fn view(port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/video");
    let client = awc::Client::builder().timeout(PATIENCE).finish();
    let answer = client.get(&url).send().await;
    let answer = answer.map_err(|error| anyhow!("{url}: {error}"))?;
    ensure!(answer.status().is_success(), "{url}: {}", answer.status());
    Ok(())
}
