//! The keeper: a background process that runs one node for all commands of a clone.
//!
//! It starts the node, writes its address to a file, and restarts it when it dies: a node that was
//! killed before has a standby, which has loaded its modules. It stops the node on SIGTERM, after half
//! an hour without use, or when its folder is removed. When the keeper itself dies, the node and its
//! standby end, too.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::NoBroker;
use super::amqp;
use super::claim;
use super::compose::{Project, Settings};
use super::launch::{self, Identity, Ports, Standby};
use super::node_dir::{NodeDir, Source, State};
use super::stop_cause::StopCauses;

/// The hidden first argument of the keeper's process.
pub(super) const ARGUMENT: &str = "__broker-keeper";

/// How many times in a row a node may die before it is up.
const QUICK_DEATHS: u32 = 3;
/// How long a killed node is up before the next one loads its modules. They cost a second of two cores,
/// which belongs to the check that killed it.
const STANDBY_AFTER: Duration = Duration::from_secs(5);
/// How long to wait before the next look whether a booting node is up.
const POLL: Duration = Duration::from_millis(10);

/// The arguments of a keeper, as [`arguments`] makes them and [`main`] reads them.
pub(super) fn arguments(node: &NodeDir, source: Source, file: &Path) -> [OsString; 3] {
    let source = match source {
        Source::Private => "private",
        Source::Compose => "compose",
    };
    [source.into(), node.dir.clone().into(), file.into()]
}

/// A line in the keeper's log. Unlike `eprintln!` it does not panic on a full disk.
macro_rules! note {
    ($($words:tt)*) => {
        let _ = writeln!(io::stderr(), $($words)*);
    };
}

/// Becomes the keeper. If it fails, it prints why to stdout, a pipe to the command that started it; a
/// second line may say what to do. Everything else goes to its log.
pub(super) fn main(args: &[OsString]) -> ! {
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no async runtime")
        .and_then(|runtime| runtime.block_on(keep(args)));
    if let Err(e) = &result {
        note!("gave up: {e:#}");
        let report = match e.downcast_ref::<NoBroker>() {
            Some(NoBroker { why, mend }) => format!("{why}\n{mend}"),
            None => format!("{e:#}"),
        };
        // The command that started it may have ended.
        let _ = io::stdout().write_all(report.as_bytes());
    }
    std::process::exit(i32::from(result.is_err()))
}

async fn keep(args: &[OsString]) -> Result<()> {
    let [source, dir, file] = args else {
        bail!("only the lab itself may start the keeper");
    };
    let node = NodeDir::at(PathBuf::from(dir)).context("this is not the folder of a node")?;
    let source = match source.to_str() {
        Some("compose") => Source::Compose,
        _ => Source::Private,
    };
    // Leave the terminal: its Ctrl-C and its hang-up are for the command, not for the keeper. An error
    // means that the keeper already leads a session.
    let _ = nix::unistd::setsid();
    let mut stop_causes = StopCauses::listen()?;
    if source == Source::Private {
        claim::check_disk(&node.dir).await?;
    }
    let Some(_lock) = claim::lock(&node, source).await? else {
        return Ok(()); // Another keeper was quicker; our command waits for its node.
    };
    claim::clean_up(&node).await?;
    let mut keeper = Keeper::new(node, source, PathBuf::from(file))?;
    let result = keeper.run(&mut stop_causes).await;
    if source == Source::Compose {
        // A private node ends with its keeper; a container does not.
        Project::of(&keeper.node).down().await;
    }
    let cleaned = keeper.node.clean();
    result.and(cleaned.context("cannot remove the node's files"))
}

/// How one run of the node ended.
enum End {
    Died { status: ExitStatus, was_up: bool },
    Stopped(String),
}

struct Keeper {
    node: NodeDir,
    file: PathBuf,
    identity: Identity,
    ports: Ports,
    state: State,
    standby: Option<Standby>,
}

impl Keeper {
    fn new(node: NodeDir, source: Source, file: PathBuf) -> Result<Self> {
        let identity = Identity::fresh(&node);
        let mut state = State::new(node.slot, source);
        state.user.clone_from(&identity.user);
        state.password.clone_from(&identity.password);
        state.node_name.clone_from(&identity.node_name);
        state.keeper_pid = i32::try_from(std::process::id())?;
        Ok(Self {
            ports: Ports::free()?,
            node,
            file,
            identity,
            state,
            standby: None,
        })
    }

    async fn run(&mut self, stop_causes: &mut StopCauses) -> Result<()> {
        let mut quick = 0;
        loop {
            let started = Instant::now();
            match self.once(stop_causes).await? {
                End::Stopped(why) => {
                    note!("stopped: {why}");
                    return Ok(());
                }
                End::Died { status, was_up } => {
                    let after = started.elapsed().as_secs_f32();
                    note!("the node died after {after:.1} s: {status}");
                    quick = if was_up { 0 } else { quick + 1 };
                }
            }
            if quick == QUICK_DEATHS {
                bail!(
                    "the node died {QUICK_DEATHS} times while starting; it printed last: {}",
                    self.last_words()
                );
            }
            if self.state.boots == 0 {
                // No command knows the ports yet, and one of them may be the reason.
                self.ports = Ports::free()?;
                if self.state.source == Source::Compose {
                    // With other ports Compose creates another container, and leaves the volume of
                    // this one behind for ever.
                    Project::of(&self.node).down().await;
                }
            }
        }
    }

    /// Starts the node, and waits until it dies or must stop.
    async fn once(&mut self, stop_causes: &mut StopCauses) -> Result<End> {
        let started = Instant::now();
        let node = self.node.clone();
        stop_causes.may_idle = false;
        // An image may take long to download.
        let mut child = tokio::select! {
            child = self.start() => child?,
            why = stop_causes.stop(&node) => return Ok(End::Stopped(why)),
        };
        // Waiting for a child closes its stdin, unless it was taken out before.
        let _lifeline = child.stdin.take();
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let up = tokio::select! {
            up = self.wait_until_up() => up?,
            status = child.wait() => return Ok(End::Died { status: status?, was_up: false }),
            why = stop_causes.stop(&node) => {
                self.stop(child).await?;
                return Ok(End::Stopped(why));
            }
        };
        self.publish(pid, up)?;
        // The commands that waited use the node from now on. The next tick notices a lost folder.
        let _ = node.touch();
        stop_causes.may_idle = true;
        let took = started.elapsed().as_secs_f32();
        note!("up after {took:.2} s on port {}", self.ports.amqp);
        tokio::select! {
            status = child.wait() => Ok(End::Died { status: status?, was_up: true }),
            why = stop_causes.stop(&node) => {
                self.stop(child).await?;
                Ok(End::Stopped(why))
            }
            never = self.prepare() => match never {},
        }
    }

    /// Starts a standby for a node that was killed, because it will be killed again. Never ends.
    async fn prepare(&mut self) -> Infallible {
        if self.state.source == Source::Private && self.state.boots > 1 {
            sleep(STANDBY_AFTER).await;
            let command = Command::new(&self.file);
            match Standby::start(&self.node, command, &self.identity, self.ports) {
                Ok(standby) => {
                    note!("a standby loads its modules");
                    self.standby = Some(standby);
                }
                Err(e) => {
                    note!("there is no standby: {e}");
                }
            }
        }
        std::future::pending().await
    }

    async fn start(&mut self) -> Result<Child> {
        match self.state.source {
            Source::Private => {
                if let Some(standby) = self.standby.take() {
                    match standby.boot() {
                        Ok(child) => {
                            note!("the standby boots");
                            return Ok(child);
                        }
                        Err(e) => {
                            note!("the standby has ended: {e}");
                        }
                    }
                }
                launch::write_files(&self.node, &self.identity, self.ports)
                    .with_context(|| format!("cannot write to {}", self.node.dir.display()))?;
                launch::start(
                    &self.node,
                    Command::new(&self.file),
                    &self.identity,
                    self.ports,
                )
                .with_context(|| format!("cannot start {}", self.file.display()))
            }
            Source::Compose => {
                let project = Project::of(&self.node);
                let settings = Settings {
                    file: &self.file,
                    identity: &self.identity,
                    ports: self.ports,
                };
                if self.state.boots == 0 {
                    project.pull(&settings).await?;
                }
                project.up(&settings)
            }
        }
    }

    /// Waits until our node, and no other, accepts AMQP and its management API listens.
    async fn wait_until_up(&self) -> Result<amqp::Greeting> {
        let patience = match self.state.source {
            Source::Private => Duration::from_secs(90),
            Source::Compose => Duration::from_secs(180),
        };
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let port = self.ports.amqp;
            if let Ok(greeting) = amqp::greeting("127.0.0.1", port, Duration::from_secs(2)).await
                && self.identity.is_of(&greeting.cluster_name)
                && TcpStream::connect(("127.0.0.1", self.ports.management))
                    .await
                    .is_ok()
            {
                return Ok(greeting);
            }
            sleep(POLL).await;
        }
        bail!(
            "the node did not answer within {} s; it printed last: {}",
            patience.as_secs(),
            self.last_words()
        )
    }

    fn publish(&mut self, vm_pid: Option<i32>, greeting: amqp::Greeting) -> Result<()> {
        let state = &mut self.state;
        state.port = self.ports.amqp;
        state.management_port = self.ports.management;
        state.cluster_name = greeting.cluster_name;
        state.version = greeting.version;
        state.boots += 1;
        if state.source == Source::Private {
            state.vm_pid = vm_pid;
        }
        self.node
            .write_state(state)
            .context("cannot write state.json")
    }

    async fn stop(&self, mut child: Child) -> Result<()> {
        // No command may find a node that is stopping.
        let removed = self.node.remove_state();
        // All its data will be deleted, so a kill is good enough.
        child.kill().await.context("cannot stop the node")?;
        removed.context("cannot remove state.json")
    }

    /// The last line that the node printed, shortened for a message.
    fn last_words(&self) -> String {
        let bytes = std::fs::read(self.node.console_log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let line = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty());
        line.unwrap_or("(none)").chars().take(200).collect()
    }
}
