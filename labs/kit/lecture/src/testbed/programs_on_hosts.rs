//! The testbed without containers: the installed RabbitMQ and the programs as processes, each on
//! its host.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use broker::access::{self, Login};
use broker::{Broker, RemoteNode};
use check::{Row, rows};
use course::manifest::Lecture;
use course::paths::Paths;
use serde_json::{Value, json};

use super::programs::Programs;
use super::{ChangedSettings, HostTestbed, ProgramEnd, Role, Testbed, hosts_line};
use hosts::host::{Host, HostsDir};
use hosts::network;
use hosts::two_hosts::{AMQP, TwoHosts};

/// The testbed of programs on hosts.
pub struct ProgramsOnHosts {
    lecture: Lecture,
    hosts: TwoHosts,
    programs: Programs,
    topology: PathBuf,
    node: RefCell<Option<RemoteNode>>,
    admin: Login,
    logins: [Login; 2],
}

impl ProgramsOnHosts {
    /// A testbed for `program` of `chapter`, with generated passwords.
    ///
    /// # Errors
    /// When the folder for its logs cannot be created, or no hosts fit into this clone.
    pub fn new(paths: &Paths, program: &Path, chapter: &str, lecture: Lecture) -> Result<Self> {
        Ok(Self {
            hosts: TwoHosts::new(HostsDir::of(paths)?),
            programs: Programs::new(program, chapter, &paths.data().join("demo"))?,
            topology: paths.root.join(&lecture.topology),
            lecture,
            node: RefCell::default(),
            admin: Login::generate("admin"),
            logins: Role::ALL.map(|role| Login::generate(role.name())),
        })
    }

    /// The environment that a program gets for its login.
    fn environment(&self, role: Role) -> BTreeMap<String, String> {
        let vhost = &self.lecture.vhost;
        self.login(role).environment(Host::A.address(), AMQP, vhost)
    }

    /// The hosts file that a consumer sees whose broker has a name.
    fn hosts_file(&self) -> PathBuf {
        self.programs.dir.join("hosts")
    }

    /// What the broker imports at its start, as in the compose file of VM A: the topology, the
    /// users, and the rights that the program itself names.
    async fn definitions(&self) -> Result<Value> {
        let grants = access::ask(&self.programs.program).await?;
        let text = std::fs::read(&self.topology).context("cannot read the topology")?;
        let mut all: Value = serde_json::from_slice(&text).context("the topology is not JSON")?;
        let user = |login: &Login, tags: &str| {
            let Login { user, password } = login;
            json!({ "name": user, "password": password, "tags": tags })
        };
        let rights = |user: &str, configure: &str, write: &str, read: &str| {
            json!({ "vhost": self.lecture.vhost, "user": user,
                "configure": configure, "write": write, "read": read })
        };
        let mut permissions = vec![rights("admin", ".*", ".*", ".*")];
        for (role, grant) in &grants {
            permissions.push(rights(role, &grant.configure, &grant.write, &grant.read));
        }
        let [producer, consumer] = &self.logins;
        all["vhosts"] = json!([{ "name": self.lecture.vhost }]);
        all["users"] = json!([
            user(&self.admin, "administrator"),
            user(producer, ""),
            user(consumer, ""),
        ]);
        all["permissions"] = Value::Array(permissions);
        Ok(all)
    }
}

impl Testbed for ProgramsOnHosts {
    fn lecture(&self) -> &Lecture {
        &self.lecture
    }

    fn describe(&self) -> [String; 3] {
        let [a, b] = Host::ALL.map(|host| format!("host {}, {}", host.name(), host.address()));
        [
            format!("{a}: broker and producer"),
            format!("{b}: the consumer"),
            "a pair of virtual network cards".to_owned(),
        ]
    }

    async fn set_up(&self) -> Result<()> {
        self.hosts.create().await
    }

    async fn start_broker(&self) -> Result<Broker> {
        let dir = self.hosts.dir.of_host(Host::A).join("rabbitmq");
        let definitions = self.definitions().await?;
        // One that an earlier try has started must not share the folder.
        self.node.replace(None);
        let node = RemoteNode::start(dir, &Host::A.enter(), &definitions)?;
        self.node.replace(Some(node));
        let Login { user, password } = &self.admin;
        let broker = self.hosts.connect_to_broker(user, password).await;
        broker.map_err(|error| {
            let end = self.node.borrow_mut().as_mut().and_then(RemoteNode::ended);
            match end {
                Some(end) => error.context(format!("it ended: {end}")),
                None => error,
            }
        })
    }

    fn vhost(&self) -> &str {
        &self.lecture.vhost
    }

    async fn start(&self, role: Role) -> Result<()> {
        let environment = self.environment(role);
        let through = role.host().enter();
        self.programs.start(role, &through, environment).await
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
        network::pull_cable().await
    }

    async fn plug_in_cable(&self) -> Result<()> {
        network::plug_in_cable().await
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        rows(
            &self.programs.file(Role::Consumer, "sqlite"),
            &self.lecture.queue,
        )
    }

    async fn tear_down(&self) -> Result<()> {
        self.programs.kill_all();
        self.node.replace(None);
        self.hosts.remove().await
    }
}

impl HostTestbed for ProgramsOnHosts {
    fn login(&self, role: Role) -> &Login {
        let [producer, consumer] = &self.logins;
        match role {
            Role::Producer => producer,
            Role::Consumer => consumer,
        }
    }

    async fn start_changed(&self, changed: ChangedSettings<'_>) -> Result<()> {
        let mut environment = self.environment(Role::Consumer);
        let mut through = Host::B.enter().to_vec();
        let mut set = |name: &str, value: &str| {
            environment.insert(name.to_owned(), value.to_owned());
        };
        if let Some(password) = changed.password {
            set("BROKER_PASSWORD", password);
        }
        if let Some(host) = changed.host {
            set("BROKER_HOST", host);
            let file = self.hosts_file();
            std::fs::write(&file, "127.0.0.1 localhost\n").context("cannot write a hosts file")?;
            through.extend(with_hosts_file(&file));
        }
        self.programs
            .start(Role::Consumer, &through, environment)
            .await
    }

    async fn resolve(&self, name: &str) -> Result<()> {
        let file = self.hosts_file();
        // Written in place: the mount would not see a new file of the same name.
        let text = std::fs::read_to_string(&file).unwrap_or_default() + &hosts_line(name);
        std::fs::write(file, text).context("cannot write a hosts file")
    }

    async fn clear(&self) -> Result<()> {
        self.programs.clear().await
    }

    async fn broker_log(&self) -> Result<String> {
        let node = self.node.borrow();
        Ok(node.as_ref().map(RemoteNode::log).unwrap_or_default())
    }
}

/// The words before a command that give it `file` as its `/etc/hosts`.
fn with_hosts_file(file: &Path) -> Vec<String> {
    let bind = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let file = file.display().to_string();
    [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        bind,
        &file,
    ]
    .map(str::to_owned)
    .to_vec()
}
