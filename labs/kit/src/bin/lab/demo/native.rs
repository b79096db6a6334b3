//! The story without containers: the installed RabbitMQ and the programs as they are, each on
//! its host.

use std::cell::{OnceCell, RefCell};
use std::path::Path;

use anyhow::Result;
use kit::access::Access;
use kit::broker::{Broker, NodeElsewhere};
use kit::check::{Row, rows};
use kit::paths::Paths;

use super::programs::Programs;
use super::stage::{QUEUE, Role, Stage};
use crate::hosts::place::{Host, Place};
use crate::hosts::site::{AMQP, Site};

const VHOST: &str = "cross-network";

/// The stage of programs on hosts.
pub struct Native {
    site: Site,
    paths: Paths,
    programs: Programs,
    node: RefCell<Option<NodeElsewhere>>,
    access: OnceCell<Access>,
}

impl Native {
    /// A stage for `program`.
    ///
    /// # Errors
    /// When the folder of its logs cannot be made.
    pub fn new(paths: &Paths, place: Place, program: &Path) -> Result<Self> {
        Ok(Self {
            site: Site::new(place),
            paths: paths.clone(),
            programs: Programs::new(program, &paths.data().join("demo"))?,
            node: RefCell::default(),
            access: OnceCell::new(),
        })
    }
}

impl Stage for Native {
    fn scenery(&self) -> [String; 3] {
        let [a, b] = Host::ALL.map(|host| format!("host {}, {}", host.name(), host.address()));
        [
            format!("{a}: broker and producer"),
            format!("{b}: the consumer"),
            "a pair of virtual network cards".to_owned(),
        ]
    }

    async fn raise(&self) -> Result<()> {
        self.site.raise().await
    }

    async fn start_broker(&self) -> Result<Broker> {
        let dir = self.site.place.of_host(Host::A).join("rabbitmq");
        let node = NodeElsewhere::start(dir, &Host::A.enter())?;
        let (user, password) = (node.user.clone(), node.password.clone());
        self.node.replace(Some(node));
        let broker = match self.site.broker(&user, &password).await {
            Ok(broker) => broker,
            Err(error) => {
                let end = self
                    .node
                    .borrow_mut()
                    .as_mut()
                    .and_then(NodeElsewhere::ended);
                return Err(match end {
                    Some(end) => error.context(format!("it ended: {end}")),
                    None => error,
                });
            }
        };
        broker.create_vhost(VHOST).await?;
        let topology = self.paths.root.join("compose/07-topology.json");
        let kept = self.programs.dir.join("logins.json");
        let program = &self.programs.program;
        let access = Access::open(&broker, VHOST, &topology, program, &kept).await?;
        let _ = self.access.set(access);
        Ok(broker)
    }

    fn vhost(&self) -> &str {
        VHOST
    }

    async fn start(&self, role: Role) -> Result<()> {
        let access = self.access.get().expect("the broker is started first");
        let login = access.environment(role.name(), Host::A.address(), AMQP)?;
        self.programs.start(role, &role.host().enter(), login).await
    }

    async fn stop(&self, role: Role) -> Result<()> {
        self.programs.stop(role).await
    }

    async fn ended(&self, role: Role) -> Result<Option<String>> {
        Ok(self.programs.ended(role))
    }

    async fn log(&self, role: Role) -> Result<String> {
        Ok(self.programs.log(role))
    }

    async fn pull(&self) -> Result<()> {
        self.site.pull().await
    }

    async fn plug(&self) -> Result<()> {
        self.site.plug().await
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        rows(&self.programs.file(Role::Consumer, "sqlite"), QUEUE)
    }

    async fn strike(&self) -> Result<()> {
        self.programs.kill();
        self.node.replace(None);
        self.site.strike().await
    }
}
