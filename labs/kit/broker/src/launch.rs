//! How an installed RabbitMQ is started beside any other: its settings, its environment,
//! and what makes it start fast.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use rand::RngExt;
use tokio::process::{Child, Command};

use super::node_dir::{NodeDir, open_private, write_private};

/// Erlang that loads the modules of RabbitMQ while RabbitMQ boots. Booting is one thread
/// that loads them one by one on demand; this is a second one, and halves the time.
const PRELOAD: &str = include_str!("preload.erl");

/// Below the ports that systems give to outgoing connections (32768 and up on Linux,
/// 49152 on macOS), so that a node which restarts finds its port free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The names and secrets of one node. Fresh for each keeper, so that no node on this
/// machine can be taken for another.
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

    /// Whether a broker that calls itself so is this node. In a container the name comes
    /// from the host name, as `rabbit@<name>`.
    pub fn is_of(&self, cluster_name: &str) -> bool {
        cluster_name.strip_prefix("rabbit@").unwrap_or(cluster_name) == self.cluster_name
    }
}

/// Eight digits that tell one clone of the lab from another on the same machine.
pub(super) fn clone_hash(node: &NodeDir) -> String {
    let mut hasher = DefaultHasher::new();
    node.dir.parent().hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

/// 128 random bits from the system's generator, in hexadecimal.
fn secret() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// The three ports of a node.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    /// Where AMQP is spoken; all else is on loopback.
    pub interface: Ipv4Addr,
    pub amqp: u16,
    pub management: u16,
    pub distribution: u16,
}

impl Ports {
    /// Three ports that are free now. Another program may take one before the node does;
    /// the node then dies at once and the keeper tries again with others.
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

/// The paths of a node's files, all in the folder that is removed with it.
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

/// Writes settings, cookie and credentials, for ports that may have changed.
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
    // The disk limit: RabbitMQ's own 50 MB would block every publisher on a laptop whose
    // disk is nearly full; the keeper refuses to start below its own limit instead.
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

/// Starts the node. Its stdin is a lifeline: when the other end closes, which a keeper's
/// death does whatever killed it, the node ends within milliseconds. `command` is the
/// server's script, alone or after what runs it elsewhere.
pub(super) fn start(
    node: &NodeDir,
    mut command: Command,
    identity: &Identity,
    ports: Ports,
) -> io::Result<Child> {
    let layout = Layout::of(node);
    let Ports {
        interface,
        amqp,
        distribution,
        ..
    } = ports;
    let name = &identity.node_name;
    let console = open_private(&node.console_log(), true)?;
    let lines = PRELOAD.lines().filter(|line| !line.starts_with('%'));
    let preload = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("HOME", &layout.home)
        // Absent files: /etc/rabbitmq is not read.
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
        // The script then execs the VM, so that the child's pid is the node's.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("ERL_CRASH_DUMP_SECONDS", "0")
        // No epmd, neither for the node nor for the helper VM it starts each minute.
        .env(
            "ERL_FLAGS",
            format!("-start_epmd false -erl_epmd_port {distribution}"),
        )
        // A dead port: with the node's own, looking for epmd costs ten seconds.
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
        .kill_on_drop(true)
        .spawn()
}
