//! Starts an installed RabbitMQ beside any other: its ports, its settings, its environment, and what
//! makes it start fast.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use rand::RngExt;
use tokio::process::{Child, Command};

use super::node_dir::{NodeDir, append_private, gone_is_fine, write_private};

/// Erlang code that loads the modules of RabbitMQ while RabbitMQ boots, or before. The boot loads them one
/// by one in one thread; a second thread halves the time.
const PRELOAD: &str = include_str!("preload.erl");

/// Below the ports of outgoing connections (from 32768 on Linux, from 49152 on macOS), so that a
/// restarted node finds its port free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The names and secrets of one node. Each keeper generates new ones, so that no node of this machine
/// is mistaken for another.
pub(super) struct Identity {
    pub node_name: String,
    pub cluster_name: String,
    pub user: String,
    pub password: String,
    cookie: String,
}

impl Identity {
    pub fn fresh(node: &NodeDir) -> Self {
        let name = format!("lab-{}-{}-{}", clone_hash(node), node.slot, &secret()[..8]);
        Self {
            node_name: format!("{name}@localhost"),
            cluster_name: name,
            user: "lab".to_owned(),
            password: secret(),
            cookie: secret(),
        }
    }

    /// Whether a broker with this cluster name is this node. In a container RabbitMQ takes the name
    /// from the host name: `rabbit@<name>`.
    pub fn is_of(&self, cluster_name: &str) -> bool {
        cluster_name.strip_prefix("rabbit@").unwrap_or(cluster_name) == self.cluster_name
    }
}

/// Eight hexadecimal digits that distinguish the clones of the lab on one machine.
pub(super) fn clone_hash(node: &NodeDir) -> String {
    let mut hasher = DefaultHasher::new();
    node.dir.parent().hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

/// 128 random bits, in hexadecimal.
fn secret() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// The three ports of a node.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    /// The address for AMQP; the other two ports are on loopback.
    pub interface: Ipv4Addr,
    pub amqp: u16,
    pub management: u16,
    pub distribution: u16,
}

impl Ports {
    /// Three ports that are free now. If another program takes one before the node does, the node
    /// dies at once, and the keeper tries other ports.
    pub fn free() -> io::Result<Self> {
        let mut held = Vec::new();
        let mut rng = rand::rng();
        for _ in 0..1000 {
            let port = rng.random_range(PORTS);
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                held.push((port, listener));
            }
            if let [(amqp, _), (management, _), (distribution, _)] = held[..] {
                return Ok(Self {
                    interface: Ipv4Addr::LOCALHOST,
                    amqp,
                    management,
                    distribution,
                });
            }
        }
        Err(io::Error::other(format!(
            "no three free ports on 127.0.0.1 between {} and {}",
            PORTS.start, PORTS.end
        )))
    }
}

/// The paths of a node's files, all in the folder that is removed when it stops.
struct Layout {
    home: PathBuf,
    data: PathBuf,
    conf: PathBuf,
    plugins: PathBuf,
    run: PathBuf,
}

impl Layout {
    fn of(node: &NodeDir) -> Self {
        let run = node.run();
        Self {
            home: run.join("home"),
            data: run.join("data"),
            conf: run.join("rabbitmq.conf"),
            plugins: run.join("enabled_plugins"),
            run,
        }
    }
}

/// Writes settings, cookie and credentials; the ports may have changed since the last time.
pub(super) fn write_files(node: &NodeDir, identity: &Identity, ports: Ports) -> io::Result<()> {
    let layout = Layout::of(node);
    for dir in [&layout.run, &layout.home, &layout.data] {
        fs::create_dir_all(dir)?;
    }
    let cookie = layout.home.join(".erlang.cookie");
    if !cookie.exists() {
        write_private(&cookie, identity.cookie.as_bytes())?;
    }
    write_private(&layout.plugins, b"[rabbitmq_management].\n")?;
    write_private(&layout.conf, conf(identity, ports).as_bytes())
}

fn conf(identity: &Identity, ports: Ports) -> String {
    let Identity {
        cluster_name,
        user,
        password,
        ..
    } = identity;
    let Ports {
        interface,
        amqp,
        management,
        ..
    } = ports;
    // The disk limit: RabbitMQ's default of 50 MB blocks every publisher on a laptop with a nearly full
    // disk. Instead, the keeper refuses to start below its own limit.
    // The frames: lapin clears room for 32 of the largest for each direction of a connection. With
    // RabbitMQ's default of 131072 bytes this is an eighth of what a run of checks computes.
    format!(
        "listeners.tcp.1 = {interface}:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
cluster_name = {cluster_name}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
disk_free_limit.absolute = 16MB
log.file.rotation.size = 10485760
log.file.rotation.count = 1
"
    )
}

/// A node that loads its modules and does not boot yet: then it is up in half of the time.
pub(super) struct Standby {
    child: Child,
    /// It boots when this file exists.
    go: PathBuf,
}

impl Standby {
    /// A standby for the node with these files.
    pub fn start(
        node: &NodeDir,
        command: Command,
        identity: &Identity,
        ports: Ports,
    ) -> io::Result<Self> {
        // The one port that a node opens before it boots.
        let Ports { distribution, .. } = Ports::free()?;
        let ports = Ports {
            distribution,
            ..ports
        };
        let go = node.run().join("go");
        gone_is_fine(fs::remove_file(&go))?;
        let mut command = prepared(node, command, identity, ports)?;
        let child = command.env("LAB_STANDBY", &go).spawn()?;
        Ok(Self { child, go })
    }

    /// Lets it boot.
    ///
    /// # Errors
    /// When it has ended.
    pub fn boot(mut self) -> io::Result<Child> {
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(status.to_string()));
        }
        fs::write(&self.go, [])?;
        Ok(self.child)
    }
}

/// Starts the node. `command` is the server's script, perhaps behind a command that runs it on another
/// host.
pub(super) fn start(
    node: &NodeDir,
    command: Command,
    identity: &Identity,
    ports: Ports,
) -> io::Result<Child> {
    gone_is_fine(fs::remove_file(node.console_log()))?;
    prepared(node, command, identity, ports)?.spawn()
}

/// The command with all that a node needs. Its stdin is a lifeline: when the keeper ends, for whatever
/// reason, the pipe closes, and the node ends within milliseconds.
fn prepared(
    node: &NodeDir,
    mut command: Command,
    identity: &Identity,
    ports: Ports,
) -> io::Result<Command> {
    let layout = Layout::of(node);
    let Ports {
        interface,
        amqp,
        distribution,
        ..
    } = ports;
    let name = &identity.node_name;
    let console = append_private(&node.console_log())?;
    let lines = PRELOAD.lines().filter(|line| !line.starts_with('%'));
    let preload = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("HOME", &layout.home)
        // Files that do not exist, so that RabbitMQ does not read /etc/rabbitmq.
        .env("RABBITMQ_CONF_ENV_FILE", layout.run.join("none"))
        .env("RABBITMQ_CONFIG_FILES", layout.run.join("none.d"))
        .env(
            "RABBITMQ_ADVANCED_CONFIG_FILE",
            layout.run.join("none.config"),
        )
        .env("RABBITMQ_CONFIG_FILE", &layout.conf)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &layout.plugins)
        .env("RABBITMQ_NODENAME", name)
        .env("RABBITMQ_NODE_IP_ADDRESS", interface.to_string())
        .env("RABBITMQ_NODE_PORT", amqp.to_string())
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", &layout.data)
        .env("RABBITMQ_LOG_BASE", node.log())
        .env("RABBITMQ_PID_FILE", layout.run.join("pid"))
        // With this the script execs the VM: the child's pid is the node's.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        // No epmd, for the node or for the helper VM that it starts each minute.
        .env(
            "ERL_FLAGS",
            format!("-start_epmd false -erl_epmd_port {distribution}"),
        )
        // A closed port: with the node's own port, the search for epmd takes ten seconds.
        .env("ERL_EPMD_PORT", "1")
        .env("ERL_AFLAGS", format!("-eval '{preload}'"))
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            format!(
                "+B i -sname {name} -kernel inet_dist_use_interface {{127,0,0,1}} \
                 -kernel inet_dist_listen_min {distribution} \
                 -kernel inet_dist_listen_max {distribution}"
            ),
        )
        .current_dir(&layout.run)
        .stdin(Stdio::piped())
        .stdout(console.try_clone()?)
        .stderr(console)
        .kill_on_drop(true);
    Ok(command)
}
