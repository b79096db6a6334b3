//! The testbed of containers: the compose files of the two machines, unchanged, on two hosts
//! with an engine each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use broker::Broker;
use broker::access::Login;
use check::{Row, rows};
use course::manifest::Lecture;
use course::paths::Paths;
use process::Exit;
use tokio::process::Command;

use super::{
    ChangedSettings, HEARTBEAT_S, HostTestbed, ProgramEnd, RATE, Role, Testbed, WORK_MS, hosts_line,
};
use hosts::host::{Host, HostsDir};
use hosts::tool::{run, run_within};
use hosts::two_hosts::TwoHosts;
use hosts::{docker, images, network};

/// How long the broker's container may take to become healthy.
const HEALTHY: Duration = Duration::from_secs(90);

/// The testbed of containers.
pub struct ContainersOnHosts {
    lecture: Lecture,
    hosts: TwoHosts,
    root: PathBuf,
    /// The image of the programs.
    image: String,
    broker_image: String,
    admin: Login,
    producer: Login,
    consumer: Login,
}

impl ContainersOnHosts {
    /// A testbed for the `image` of that name, with generated passwords.
    ///
    /// # Errors
    /// When the compose file of VM A names no image of a broker, or no hosts fit into this clone.
    pub fn new(paths: &Paths, image: String, lecture: Lecture) -> Result<Self> {
        Ok(Self {
            hosts: TwoHosts::new(HostsDir::of(paths)?),
            broker_image: broker_image(paths, &lecture)?,
            lecture,
            root: paths.root.clone(),
            image,
            admin: Login::generate("admin"),
            producer: Login::generate("producer"),
            consumer: Login::generate("consumer"),
        })
    }

    fn compose_file(&self, host: Host) -> &Path {
        match host {
            Host::A => &self.lecture.vm_a,
            Host::B => &self.lecture.vm_b,
        }
    }

    /// What a host's compose file calls its project.
    fn project(&self, host: Host) -> String {
        let stem = self.compose_file(host).file_stem().unwrap_or_default();
        format!("lab-{}", stem.to_string_lossy())
    }

    /// The container of `service` on the host of `role`.
    fn container_of(&self, role: Role, service: &str) -> String {
        format!("{}-{service}-1", self.project(role.host()))
    }

    fn container(&self, role: Role) -> String {
        self.container_of(role, role.name())
    }

    /// `docker compose` on a host, with its file and all variables that the file asks for.
    fn compose(&self, host: Host, words: &[&str]) -> Command {
        let file = self.root.join(self.compose_file(host));
        let file = file.display().to_string();
        // Neither compose/.env nor the shell's variables may change what a class sees.
        let settings = [
            "compose",
            "--ansi=never",
            "--env-file=/dev/null",
            "--file",
            &file,
        ];
        let mut compose = docker::client(&self.hosts.dir, host, &[&settings, words].concat());
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

    /// What `service` has printed, on the host of `role`.
    async fn logs(&self, role: Role, service: &str) -> Result<String> {
        let mut logs = self.docker(role, &["logs", &self.container_of(role, service)]);
        let output = logs.kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(10), output).await;
        let output = output.context("`docker logs` does not end")??;
        let [out, err] = [output.stdout, output.stderr];
        Ok(String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
    }

    /// The volume of the consumer's database.
    fn volume(&self) -> String {
        format!("{}_{}", self.project(Host::B), self.lecture.database)
    }

    async fn start_service(&self, host: Host, service: &str) -> Result<()> {
        let up = self.compose(host, &["up", "--detach", "--wait", service]);
        run_within(HEALTHY, up).await.map(drop)
    }

    /// Docker's client, for the engine of the host where `role` runs.
    fn docker(&self, role: Role, words: &[&str]) -> Command {
        docker::client(&self.hosts.dir, role.host(), words)
    }
}

/// The broker's image, as the compose file of VM A names it.
///
/// # Errors
/// When it names none.
pub fn broker_image(paths: &Paths, lecture: &Lecture) -> Result<String> {
    let file = paths.root.join(&lecture.vm_a);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", paths.short(&file)))?;
    let image = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: rabbitmq"));
    let image =
        image.with_context(|| format!("{} names no image of rabbitmq", paths.short(&file)))?;
    Ok(format!("rabbitmq{image}"))
}

impl Testbed for ContainersOnHosts {
    fn lecture(&self) -> &Lecture {
        &self.lecture
    }

    fn describe(&self) -> [String; 3] {
        let [a, b] = Host::ALL.map(|host| format!("host {}, {}", host.name(), host.address()));
        [
            format!("{a}: broker and producer, in containers"),
            format!("{b}: the consumer, in a container"),
            "a pair of virtual network cards".to_owned(),
        ]
    }

    async fn set_up(&self) -> Result<()> {
        self.hosts.create().await?;
        let dir = &self.hosts.dir;
        images::copy_to_host(dir, Host::A, &self.broker_image).await?;
        for host in Host::ALL {
            images::copy_to_host(dir, host, &self.image).await?;
        }
        Ok(())
    }

    async fn start_broker(&self) -> Result<Broker> {
        self.start_service(Host::A, "broker").await?;
        let Login { user, password } = &self.admin;
        self.hosts.connect_to_broker(user, password).await
    }

    fn vhost(&self) -> &str {
        &self.lecture.vhost
    }

    async fn start(&self, role: Role) -> Result<()> {
        self.start_service(role.host(), role.name()).await
    }

    async fn stop(&self, role: Role) -> Result<()> {
        let stop = self.docker(role, &["stop", "--time", "10", &self.container(role)]);
        run(stop).await.map(drop)
    }

    async fn unasked_end(&self, role: Role) -> Result<Option<ProgramEnd>> {
        let state = "{{.State.Running}} {{.RestartCount}} {{.State.ExitCode}}";
        let inspect = ["inspect", "--format", state, &self.container(role)];
        let printed = run(self.docker(role, &inspect)).await?;
        Ok(match printed.split(' ').collect::<Vec<_>>()[..] {
            ["true", "0", _] => None,
            ["true", restarts, _] => Some(ProgramEnd::Restarted(restarts.parse()?)),
            [_, _, code] => Some(ProgramEnd::Exit(Exit::Code(code.parse()?))),
            _ => bail!(
                "`docker inspect` printed {printed:?} for the {}",
                role.name()
            ),
        })
    }

    async fn log(&self, role: Role) -> Result<String> {
        self.logs(role, role.name()).await
    }

    async fn pull_cable(&self) -> Result<()> {
        network::pull_cable().await
    }

    async fn plug_in_cable(&self) -> Result<()> {
        network::plug_in_cable().await
    }

    async fn rows(&self) -> Result<Vec<Row>> {
        let inspect = [
            "volume",
            "inspect",
            "--format",
            "{{.Mountpoint}}",
            &self.volume(),
        ];
        let folder = run(self.docker(Role::Consumer, &inspect)).await?;
        let file = format!("{}.sqlite", self.lecture.database);
        rows(&PathBuf::from(folder).join(file), &self.lecture.queue)
    }

    async fn tear_down(&self) -> Result<()> {
        self.hosts.remove().await
    }
}

impl HostTestbed for ContainersOnHosts {
    fn login(&self, role: Role) -> &Login {
        match role {
            Role::Producer => &self.producer,
            Role::Consumer => &self.consumer,
        }
    }

    async fn start_changed(&self, changed: ChangedSettings<'_>) -> Result<()> {
        let service = Role::Consumer.name();
        let name = self.container(Role::Consumer);
        // Not `up`, which would restart a consumer that ends.
        let run_once = ["run", "--detach", "--name", &name, service];
        let mut run_once = self.compose(Host::B, &run_once);
        if let Some(password) = changed.password {
            run_once.env("CONSUMER_PASSWORD", password);
        }
        if let Some(host) = changed.host {
            run_once.env("BROKER_HOST", host);
        }
        run(run_once).await.map(drop)
    }

    async fn resolve(&self, name: &str) -> Result<()> {
        let line = hosts_line(name);
        let write = format!("printf '{}' >> /etc/hosts", line.escape_default());
        let container = self.container(Role::Consumer);
        let exec = ["exec", "--user", "root", &container, "sh", "-c", &write];
        run(self.docker(Role::Consumer, &exec)).await.map(drop)
    }

    async fn clear(&self) -> Result<()> {
        for role in Role::ALL {
            let remove = ["rm", "--force", "--volumes", &self.container(role)];
            // An error means that the container does not exist.
            let _ = run(self.docker(role, &remove)).await;
        }
        let remove = ["volume", "rm", "--force", &self.volume()];
        run(self.docker(Role::Consumer, &remove)).await.map(drop)
    }

    async fn broker_log(&self) -> Result<String> {
        self.logs(Role::Producer, "broker").await
    }
}
