//! The story without containers: the installed RabbitMQ and the programs as they are, each on
//! its host.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use broker::access::{self, Login};
use broker::{Broker, RemoteNode};
use check::{Row, rows};
use course::paths::Paths;
use serde_json::{Value, json};

use super::programs::Programs;
use super::stage::{End, QUEUE, Role, Stage};
use hosts::place::{Host, Place};
use hosts::site::{AMQP, Site};

const VHOST: &str = "cross-network";

/// The stage of programs on hosts.
pub struct Native {
    pub site: Site,
    pub programs: Programs,
    topology: PathBuf,
    pub node: RefCell<Option<RemoteNode>>,
    admin: Login,
    logins: [Login; 2],
}

impl Native {
    /// A stage for `program`, with generated passwords.
    ///
    /// # Errors
    /// When the folder of its logs cannot be made.
    pub fn new(paths: &Paths, place: Place, program: &Path) -> Result<Self> {
        Ok(Self {
            site: Site::new(place),
            programs: Programs::new(program, &paths.data().join("demo"))?,
            topology: paths.root.join("compose/07-topology.json"),
            node: RefCell::default(),
            admin: Login::generate("admin"),
            logins: [Role::Producer, Role::Consumer].map(|role| Login::generate(role.name())),
        })
    }

    /// As whom a program logs in.
    pub fn login(&self, role: Role) -> &Login {
        let [producer, consumer] = &self.logins;
        match role {
            Role::Producer => producer,
            Role::Consumer => consumer,
        }
    }

    /// What a program finds in its environment.
    pub fn environment(&self, role: Role) -> BTreeMap<String, String> {
        self.login(role).environment(Host::A.address(), AMQP, VHOST)
    }

    /// What the broker begins with, as `compose/07-vm-a.yml` has it: the topology, users, and
    /// the rights that the program itself names.
    async fn definitions(&self) -> Result<Value> {
        let grants = access::ask(&self.programs.program).await?;
        let text = std::fs::read(&self.topology).context("cannot read the topology")?;
        let mut all: Value = serde_json::from_slice(&text).context("the topology is no JSON")?;
        let user = |login: &Login, tags: &str| {
            let Login { user, password } = login;
            json!({ "name": user, "password": password, "tags": tags })
        };
        let rights = |user: &str, configure: &str, write: &str, read: &str| {
            json!({ "vhost": VHOST, "user": user,
                "configure": configure, "write": write, "read": read })
        };
        let mut permissions = vec![rights("admin", ".*", ".*", ".*")];
        for (role, grant) in &grants {
            permissions.push(rights(role, &grant.configure, &grant.write, &grant.read));
        }
        let [producer, consumer] = &self.logins;
        all["vhosts"] = json!([{ "name": VHOST }]);
        all["users"] = json!([
            user(&self.admin, "administrator"),
            user(producer, ""),
            user(consumer, ""),
        ]);
        all["permissions"] = Value::Array(permissions);
        Ok(all)
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
        let definitions = self.definitions().await?;
        let node = RemoteNode::start(dir, &Host::A.enter(), &definitions)?;
        self.node.replace(Some(node));
        let Login { user, password } = &self.admin;
        self.site.broker(user, password).await.map_err(|error| {
            let end = self.node.borrow_mut().as_mut().and_then(RemoteNode::ended);
            match end {
                Some(end) => error.context(format!("it ended: {end}")),
                None => error,
            }
        })
    }

    fn vhost(&self) -> &str {
        VHOST
    }

    async fn start(&self, role: Role) -> Result<()> {
        let environment = self.environment(role);
        let through = role.host().enter();
        self.programs.start(role, &through, environment).await
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
