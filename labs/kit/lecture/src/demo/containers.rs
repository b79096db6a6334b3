//! The story in containers: the per-VM compose files, unchanged, on two hosts with an engine
//! of their own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use broker::Broker;
use broker::access::Login;
use check::{Row, rows};
use course::paths::Paths;
use process::Exit;
use tokio::process::Command;

use super::stage::{End, HEARTBEAT_S, QUEUE, RATE, Role, Stage, WORK_MS};
use hosts::engine::docker;
use hosts::images;
use hosts::place::{Host, Place};
use hosts::site::Site;
use hosts::tool::{tool, tool_within};

/// What the broker's container gets to be healthy.
const HEALTHY: Duration = Duration::from_secs(90);
/// As `compose/07-topology.json` has it.
const VHOST: &str = "cross-network";

/// The stage of containers.
pub struct Containers {
    pub site: Site,
    compose: PathBuf,
    /// The image of the programs.
    image: String,
    broker_image: String,
    admin: Login,
    producer: Login,
    consumer: Login,
}

impl Role {
    pub fn container(self) -> String {
        format!("{}-{}-1", project(self.host()), self.name())
    }
}

/// What a host's compose file calls its project; the file's own name is beside it.
fn project(host: Host) -> &'static str {
    match host {
        Host::A => "lab-07-vm-a",
        Host::B => "lab-07-vm-b",
    }
}

fn file(host: Host) -> &'static str {
    match host {
        Host::A => "07-vm-a.yml",
        Host::B => "07-vm-b.yml",
    }
}

impl Containers {
    /// A stage for the image of that name, with generated passwords.
    ///
    /// # Errors
    /// When the compose file of VM A names no image of a broker.
    pub fn new(paths: &Paths, place: Place, image: &str) -> Result<Self> {
        let compose = paths.root.join("compose");
        Ok(Self {
            site: Site::new(place),
            broker_image: broker_image(paths)?,
            compose,
            image: image.to_owned(),
            admin: Login::generate("admin"),
            producer: Login::generate("producer"),
            consumer: Login::generate("consumer"),
        })
    }

    /// `docker compose` on a host, with its file and all that this asks for.
    pub fn compose(&self, host: Host, words: &[&str]) -> Command {
        let file = self.compose.join(file(host)).display().to_string();
        // Nobody's own settings: neither those in compose/.env, nor those of a shell.
        let settings = [
            "compose",
            "--ansi=never",
            "--env-file=/dev/null",
            "--file",
            &file,
        ];
        let mut compose = docker(&self.site.place, host, &[&settings, words].concat());
        for unwanted in ["COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"] {
            compose.env_remove(unwanted);
        }
        compose
            .env("REGISTRY", "")
            .env("PACKAGE", &self.image)
            .env("VM_A_ADDRESS", Host::A.address())
            .env("BROKER_HOST", Host::A.address())
            .env("BROKER_HEARTBEAT_S", HEARTBEAT_S.to_string())
            .env("RATE", RATE.to_string())
            .env("WORK_MS", WORK_MS.to_string())
            .env("CONSUMER_PASSWORD", &self.consumer.password);
        if host == Host::A {
            compose
                .env("ADMIN_PASSWORD", &self.admin.password)
                .env("PRODUCER_PASSWORD", &self.producer.password);
        }
        compose
    }

    /// What a service beside `role` has printed.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn logs(&self, role: Role, service: &str) -> Result<String> {
        let container = format!("{}-{service}-1", project(role.host()));
        let mut logs = self.docker(role, &["logs", &container]);
        let output = logs.kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(10), output).await;
        let output = output.context("`docker logs` does not end")??;
        let [out, err] = [output.stdout, output.stderr];
        Ok(String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
    }

    /// The volume of the consumer's database.
    pub fn volume(&self) -> String {
        format!("{}_messages", project(Host::B))
    }

    /// As whom a program logs in.
    pub fn login(&self, role: Role) -> &Login {
        match role {
            Role::Producer => &self.producer,
            Role::Consumer => &self.consumer,
        }
    }

    async fn up(&self, host: Host, service: &str) -> Result<()> {
        let up = self.compose(host, &["up", "--detach", "--wait", service]);
        tool_within(HEALTHY, up).await.map(drop)
    }

    /// Docker's client, for the engine of the host where `role` is.
    pub fn docker(&self, role: Role, words: &[&str]) -> Command {
        docker(&self.site.place, role.host(), words)
    }
}

/// The broker's image, as the compose file of VM A names it.
///
/// # Errors
/// When it names none.
pub fn broker_image(paths: &Paths) -> Result<String> {
    let file = paths.root.join("compose").join(file(Host::A));
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", paths.short(&file)))?;
    let image = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: rabbitmq"));
    let image = image.with_context(|| format!("no broker in {}", paths.short(&file)))?;
    Ok(format!("rabbitmq{image}"))
}

impl Stage for Containers {
    fn scenery(&self) -> [String; 3] {
        let [a, b] = Host::ALL.map(|host| format!("host {}, {}", host.name(), host.address()));
        [
            format!("{a}: broker and producer, in containers"),
            format!("{b}: the consumer, in a container"),
            "a pair of virtual network cards".to_owned(),
        ]
    }

    async fn raise(&self) -> Result<()> {
        self.site.raise().await?;
        let place = &self.site.place;
        images::bring(place, Host::A, &self.broker_image).await?;
        for host in Host::ALL {
            images::bring(place, host, &self.image).await?;
        }
        Ok(())
    }

    async fn start_broker(&self) -> Result<Broker> {
        self.up(Host::A, "broker").await?;
        let Login { user, password } = &self.admin;
        self.site.broker(user, password).await
    }

    fn vhost(&self) -> &str {
        VHOST
    }

    async fn start(&self, role: Role) -> Result<()> {
        self.up(role.host(), role.name()).await
    }

    async fn stop(&self, role: Role) -> Result<()> {
        let stop = self.docker(role, &["stop", "--time", "10", &role.container()]);
        tool(stop).await.map(drop)
    }

    async fn ended(&self, role: Role) -> Result<Option<End>> {
        let state = "{{.State.Running}} {{.RestartCount}} {{.State.ExitCode}}";
        let inspect = ["inspect", "--format", state, &role.container()];
        let said = tool(self.docker(role, &inspect)).await?;
        Ok(match said.split(' ').collect::<Vec<_>>()[..] {
            ["true", "0", _] => None,
            ["true", again, _] => Some(End::StartedAgain(again.parse()?)),
            [_, _, code] => Some(End::Exit(Exit::Code(code.parse()?))),
            _ => bail!("`docker inspect` said {said:?} of the {}", role.name()),
        })
    }

    async fn log(&self, role: Role) -> Result<String> {
        self.logs(role, role.name()).await
    }

    async fn pull(&self) -> Result<()> {
        self.site.pull().await
    }

    async fn plug(&self) -> Result<()> {
        self.site.plug().await
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        let inspect = [
            "volume",
            "inspect",
            "--format",
            "{{.Mountpoint}}",
            &self.volume(),
        ];
        let folder = tool(self.docker(Role::Consumer, &inspect)).await?;
        rows(&PathBuf::from(folder).join("messages.sqlite"), QUEUE)
    }

    async fn strike(&self) -> Result<()> {
        self.site.strike().await
    }
}
