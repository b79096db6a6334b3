//! The story without hosts: programs of this machine, and the lab's wiretap for a cable.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::access::Access;
use kit::broker::Broker;
use kit::check::{Row, rows};
use kit::internal;
use kit::paths::Paths;
use kit::service::{Launch, Process, read_log};
use kit::wiretap::{Journal, Side, Wiretap};

use super::stage::{HEARTBEAT_S, QUEUE, RATE, Role, Stage, WORK_MS};
use crate::broker;

/// What a program gets to finish the message in hand.
const GRACE: Duration = Duration::from_secs(10);

/// The stage on this machine.
pub struct Local {
    paths: Paths,
    program: PathBuf,
    dir: PathBuf,
    vhost: String,
    journal: Journal,
    set: OnceCell<Set>,
    running: RefCell<BTreeMap<&'static str, Process>>,
}

/// What there is once the broker is up.
struct Set {
    broker: Broker,
    access: Access,
    cable: Wiretap,
}

impl Local {
    /// A stage for `program` in the folder `dir`, which is emptied.
    pub fn new(paths: &Paths, program: &Path, dir: PathBuf) -> Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)
                .with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            paths: paths.clone(),
            program: program.to_owned(),
            journal: Journal::create(&dir, "07", "demo", 0)?,
            dir,
            // What a run leaves that was killed is known by this name, and removed.
            vhost: format!("lab.{}.demo", std::process::id()),
            set: OnceCell::new(),
            running: RefCell::default(),
        })
    }

    fn set(&self) -> Result<&Set> {
        self.set.get().context("the broker is not up yet")
    }

    fn file(&self, role: Role, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", role.name()))
    }

    fn launch(&self, role: Role, set: &Set) -> Result<Launch> {
        let address = &set.broker.address;
        let (host, port) = match role {
            Role::Producer => (&*address.host, address.port),
            Role::Consumer => ("127.0.0.1", set.cable.port()),
        };
        let mut environment = set.access.environment(role.name(), host, port)?;
        let database = self.file(role, "sqlite").display().to_string();
        for (name, value) in [
            ("BROKER_HEARTBEAT_S", HEARTBEAT_S.to_string()),
            ("DATABASE", database),
            ("RUST_LOG", "info".to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        let (rate, work) = (RATE.to_string(), WORK_MS.to_string());
        let arguments = match role {
            Role::Producer => vec![role.name(), "--rate", &rate],
            Role::Consumer => vec![role.name(), "--work-ms", &work],
        };
        Ok(Launch {
            program: self.program.clone(),
            name: role.name().to_owned(),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            environment,
            log: self.file(role, "log"),
        })
    }
}

impl Stage for Local {
    fn scenery(&self) -> [String; 3] {
        [
            "this machine: the lab's broker, and the producer".to_owned(),
            "this machine: the consumer".to_owned(),
            "a relay between consumer and broker".to_owned(),
        ]
    }

    async fn raise(&self) -> Result<()> {
        Ok(())
    }

    async fn start_broker(&self) -> Result<Broker> {
        let broker = broker::acquire(&self.paths).await?;
        broker.sweep("lab.", abandoned).await;
        broker.create_vhost(&self.vhost).await?;
        let topology = self.paths.root.join("compose/07-topology.json");
        let kept = self.dir.join("logins.json");
        let access = Access::open(&broker, &self.vhost, &topology, &self.program, &kept).await?;
        let (host, port) = (&broker.address.host, broker.address.port);
        let cable = Wiretap::open("consumer", host, port, &self.journal).await?;
        let set = Set {
            broker: broker.clone(),
            access,
            cable,
        };
        let _ = self.set.set(set);
        Ok(broker)
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    async fn start(&self, role: Role) -> Result<()> {
        let launch = self.launch(role, self.set()?)?;
        let process = Process::start(&launch, &self.journal).await?;
        self.running.borrow_mut().insert(role.name(), process);
        Ok(())
    }

    async fn stop(&self, role: Role) -> Result<()> {
        let Some(process) = self.running.borrow_mut().remove(role.name()) else {
            return Ok(());
        };
        process.terminate()?;
        process.end(GRACE).await.map(drop)
    }

    async fn ended(&self, role: Role) -> Result<Option<String>> {
        let running = self.running.borrow();
        let exit = running.get(role.name()).and_then(Process::ended);
        Ok(exit.map(|exit| exit.to_string()))
    }

    async fn log(&self, role: Role) -> Result<String> {
        Ok(read_log(&self.file(role, "log")))
    }

    async fn pull(&self) -> Result<()> {
        let cable = &self.set()?.cable;
        cable.black_hole(Side::Client);
        cable.black_hole(Side::Server);
        Ok(())
    }

    async fn plug(&self) -> Result<()> {
        self.set()?.cable.restore();
        Ok(())
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        rows(&self.file(Role::Consumer, "sqlite"), QUEUE)
    }

    async fn strike(&self) -> Result<()> {
        self.running.borrow_mut().clear();
        let Some(set) = self.set.get() else {
            return Ok(());
        };
        set.broker.delete_vhost(&self.vhost).await?;
        for login in set.access.logins().values() {
            set.broker.delete_user(&login.user).await?;
        }
        Ok(())
    }
}

/// Whether the run that made a vhost or a user of this name is over.
fn abandoned(name: &str) -> bool {
    let pid = name.split('.').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| !internal::is_alive(pid))
}
