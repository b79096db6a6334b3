//! The testbed without hosts: programs on this machine, and the lab's wiretap as the cable.

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
use super::{ProgramEnd, Role, Testbed};
use course::manifest::Lecture;

/// The testbed on this machine.
pub struct LocalPrograms {
    lecture: Lecture,
    paths: Paths,
    vhost: String,
    programs: Programs,
    connected: OnceCell<Connected>,
}

/// What exists once the broker is up.
struct Connected {
    broker: Broker,
    access: Access,
    cable: Wiretap,
}

impl LocalPrograms {
    /// A testbed for `program` of `chapter`.
    ///
    /// # Errors
    /// When the folder for its logs cannot be created.
    pub fn new(paths: &Paths, program: &Path, chapter: &str, lecture: Lecture) -> Result<Self> {
        Ok(Self {
            lecture,
            paths: paths.clone(),
            // The next run removes vhosts of killed runs, known by such names.
            vhost: format!("lab.{}.demo", std::process::id()),
            programs: Programs::new(program, chapter, &paths.data().join("demo"))?,
            connected: OnceCell::new(),
        })
    }

    fn connected(&self) -> Result<&Connected> {
        self.connected.get().context("the broker is not up yet")
    }
}

impl Testbed for LocalPrograms {
    fn lecture(&self) -> &Lecture {
        &self.lecture
    }

    fn describe(&self) -> [String; 3] {
        [
            "this machine: the lab's broker, and the producer".to_owned(),
            "this machine: the consumer".to_owned(),
            "a relay between consumer and broker".to_owned(),
        ]
    }

    async fn set_up(&self) -> Result<()> {
        Ok(())
    }

    async fn start_broker(&self) -> Result<Broker> {
        let broker = command::acquire(&self.paths).await?;
        broker.sweep("lab.", is_abandoned).await;
        broker.create_vhost(&self.vhost).await?;
        let topology = self.paths.root.join(&self.lecture.topology);
        let kept = self.programs.dir.join("logins.json");
        let program = &self.programs.program;
        let access = Access::open(&broker, &self.vhost, &topology, program, &kept).await?;
        let (host, port) = (&broker.address.host, broker.address.port);
        let cable = Wiretap::open("consumer", host, port, &self.programs.journal)?;
        let connected = Connected {
            broker: broker.clone(),
            access,
            cable,
        };
        let _ = self.connected.set(connected);
        Ok(broker)
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    async fn start(&self, role: Role) -> Result<()> {
        let Connected {
            broker,
            access,
            cable,
        } = self.connected()?;
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

    async fn unasked_end(&self, role: Role) -> Result<Option<ProgramEnd>> {
        Ok(self.programs.unasked_end(role).map(ProgramEnd::Exit))
    }

    async fn log(&self, role: Role) -> Result<String> {
        Ok(self.programs.log(role))
    }

    async fn pull_cable(&self) -> Result<()> {
        let cable = &self.connected()?.cable;
        cable.black_hole(Side::Client);
        cable.black_hole(Side::Server);
        Ok(())
    }

    async fn plug_in_cable(&self) -> Result<()> {
        self.connected()?.cable.restore();
        Ok(())
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        rows(
            &self.programs.file(Role::Consumer, "sqlite"),
            &self.lecture.queue,
        )
    }

    async fn tear_down(&self) -> Result<()> {
        self.programs.kill_all();
        let Some(connected) = self.connected.get() else {
            return Ok(());
        };
        connected.broker.delete_vhost(&self.vhost).await?;
        for login in connected.access.logins().values() {
            connected.broker.delete_user(&login.user).await?;
        }
        Ok(())
    }
}

/// Whether the run has ended that created a vhost or a user of this name.
fn is_abandoned(name: &str) -> bool {
    let pid = name.split('.').nth(1).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| !parent::is_alive(pid))
}
