//! The story without hosts: programs of this machine, and the lab's wiretap for a cable.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Context, Result};
use broker::Broker;
use broker::access::Access;
use check::{Row, rows};
use course::paths::Paths;
use process::parent;
use wiretap::{Side, Wiretap};

use super::programs::Programs;
use super::stage::{End, QUEUE, Role, Stage};

/// The stage on this machine.
pub struct Local {
    paths: Paths,
    vhost: String,
    programs: Programs,
    set: OnceCell<Set>,
}

/// What there is once the broker is up.
struct Set {
    broker: Broker,
    access: Access,
    cable: Wiretap,
}

impl Local {
    /// A stage for `program`.
    ///
    /// # Errors
    /// When the folder of its logs cannot be made.
    pub fn new(paths: &Paths, program: &Path) -> Result<Self> {
        Ok(Self {
            paths: paths.clone(),
            // What a run leaves that was killed is known by this name, and removed.
            vhost: format!("lab.{}.demo", std::process::id()),
            programs: Programs::new(program, &paths.data().join("demo"))?,
            set: OnceCell::new(),
        })
    }

    fn set(&self) -> Result<&Set> {
        self.set.get().context("the broker is not up yet")
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
        let broker = command::acquire(&self.paths).await?;
        broker.sweep("lab.", abandoned).await;
        broker.create_vhost(&self.vhost).await?;
        let topology = self.paths.root.join("compose/07-topology.json");
        let kept = self.programs.dir.join("logins.json");
        let program = &self.programs.program;
        let access = Access::open(&broker, &self.vhost, &topology, program, &kept).await?;
        let (host, port) = (&broker.address.host, broker.address.port);
        let cable = Wiretap::open("consumer", host, port, &self.programs.journal).await?;
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
        let Set {
            broker,
            access,
            cable,
        } = self.set()?;
        let (host, port) = match role {
            Role::Producer => (&*broker.address.host, broker.address.port),
            Role::Consumer => ("127.0.0.1", cable.port()),
        };
        let login = access.environment(role.name(), host, port)?;
        self.programs.start(role, &[], login).await
    }

    async fn stop(&self, role: Role) -> Result<()> {
        self.programs.stop(role).await
    }

    async fn ended(&self, role: Role) -> Result<Option<End>> {
        Ok(self.programs.ended(role).map(End::Exit))
    }

    async fn log(&self, role: Role) -> Result<String> {
        Ok(self.programs.log(role))
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
        rows(&self.programs.file(Role::Consumer, "sqlite"), QUEUE)
    }

    async fn strike(&self) -> Result<()> {
        self.programs.kill();
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
    pid.is_some_and(|pid| !parent::is_alive(pid))
}
