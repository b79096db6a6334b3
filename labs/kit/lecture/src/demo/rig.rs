//! What the checks on hosts need of a stage beyond the story: other settings, other faults.

use anyhow::{Context, Result};
use broker::RemoteNode;
use broker::access::Login;

use super::containers::Containers;
use super::native::Native;
use super::stage::{Role, Stage};
use hosts::place::Host;
use hosts::tool::tool;

/// How the consumer's settings differ from the usual ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changed<'a> {
    /// A name in place of VM A's address, which nobody knows yet: see [`Rig::resolve`].
    pub host: Option<&'a str>,
    /// A password in place of the right one.
    pub password: Option<&'a str>,
}

/// A stage on hosts.
pub trait Rig: Stage {
    /// As whom a program logs in.
    fn login(&self, role: Role) -> &Login;

    /// Starts the consumer, not to be started again when it ends.
    async fn start_changed(&self, changed: Changed<'_>) -> Result<()>;

    /// Has the consumer's machine know `name` as VM A's.
    async fn resolve(&self, name: &str) -> Result<()>;

    /// Ends both programs, and takes away what they kept and said.
    async fn clear(&self) -> Result<()>;

    /// What the broker has written into its log.
    async fn broker_log(&self) -> Result<String>;
}

/// How a program with a hosts file of its own is started: the words before it.
fn with_hosts_file(file: &str) -> Vec<String> {
    let bind = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        bind,
        file,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A line of a hosts file.
fn line(name: &str) -> String {
    format!("{} {name}\n", Host::A.address())
}

impl Rig for Native {
    fn login(&self, role: Role) -> &Login {
        self.login(role)
    }

    async fn start_changed(&self, changed: Changed<'_>) -> Result<()> {
        let mut environment = self.environment(Role::Consumer);
        let mut through = Host::B.enter().to_vec();
        let mut change = |name: &str, value: &str| {
            environment.insert(name.to_owned(), value.to_owned());
        };
        if let Some(password) = changed.password {
            change("BROKER_PASSWORD", password);
        }
        if let Some(host) = changed.host {
            change("BROKER_HOST", host);
            let file = self.programs.dir.join("hosts");
            std::fs::write(&file, "127.0.0.1 localhost\n").context("cannot write a hosts file")?;
            through.extend(with_hosts_file(&file.display().to_string()));
        }
        self.programs
            .start(Role::Consumer, &through, environment)
            .await
    }

    async fn resolve(&self, name: &str) -> Result<()> {
        let file = self.programs.dir.join("hosts");
        // The same file, not one in its place: that is the one which is mounted.
        let text = std::fs::read_to_string(&file).unwrap_or_default() + &line(name);
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

impl Rig for Containers {
    fn login(&self, role: Role) -> &Login {
        self.login(role)
    }

    async fn start_changed(&self, changed: Changed<'_>) -> Result<()> {
        let name = Role::Consumer.container();
        let run = ["run", "--detach", "--name", &name, "consumer"];
        let mut run = self.compose(Host::B, &run);
        if let Some(password) = changed.password {
            run.env("CONSUMER_PASSWORD", password);
        }
        if let Some(host) = changed.host {
            run.env("BROKER_HOST", host);
        }
        tool(run).await.map(drop)
    }

    async fn resolve(&self, name: &str) -> Result<()> {
        let write = format!("printf '{}' >> /etc/hosts", line(name).escape_default());
        let container = Role::Consumer.container();
        let exec = ["exec", "--user", "root", &container, "sh", "-c", &write];
        tool(self.docker(Role::Consumer, &exec)).await.map(drop)
    }

    async fn clear(&self) -> Result<()> {
        for role in [Role::Producer, Role::Consumer] {
            let gone = ["rm", "--force", "--volumes", &role.container()];
            // One that is not there is gone.
            let _ = tool(self.docker(role, &gone)).await;
        }
        let volume = ["volume", "rm", "--force", &self.volume()];
        tool(self.docker(Role::Consumer, &volume)).await.map(drop)
    }

    async fn broker_log(&self) -> Result<String> {
        self.logs(Role::Producer, "broker").await
    }
}
