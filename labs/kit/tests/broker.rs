//! The private node, tried against the installed RabbitMQ, in folders of its own so that
//! a developer's broker is left alone.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_lite::StreamExt;
use kit::broker::{self, Broker, Kind, NodeStatus, OwnNode, Queue};
use kit::paths::Paths;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use libtest_mimic::{Arguments, Failed, Trial};

/// This program's own hidden subcommand: acquires a broker in the folder that follows, as
/// a command of the lab would, and prints its port.
const ACQUIRE: &str = "__acquire";

fn main() {
    kit::internal::dispatch();
    let args: Vec<String> = std::env::args().collect();
    if let [_, command, folder] = args.as_slice()
        && command == ACQUIRE
    {
        acquire_and_print(Path::new(folder));
    }
    let trials = vec![
        // The slow ones first: the others wait for one node that they share.
        trial("own_nodes", own_nodes),
        trial("keeper_killed", keeper_killed),
        trial("idle_stop", idle_stop),
        trial("one_node_for_all", one_node_for_all),
        trial("secrets_are_private", secrets_are_private),
        trial("loopback_only", loopback_only),
        trial("vhosts", vhosts),
        trial("counts_are_exact", counts_are_exact),
        trial("given", given),
        trial("unusable_folder", unusable_folder),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    block_on(async {
        if let Some(paths) = SHARED.get() {
            broker::down(paths).await?;
        }
        Ok(())
    })
    .unwrap();
    conclusion.exit();
}

fn trial<F>(name: &str, test: fn() -> F) -> Trial
where
    F: Future<Output = Result<()>> + 'static,
{
    Trial::test(name, move || {
        block_on(test()).map_err(|e| Failed::from(format!("{e:#}")))
    })
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    actix_web::rt::System::new().block_on(future)
}

/// A clone whose target folder is long, with a space and a letter beyond ASCII.
fn folder(name: &str) -> Paths {
    let mut paths = Paths::find().unwrap();
    let long = "a folder with a löng name ".repeat(5);
    paths.target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{long}{name}"));
    paths
}

static SHARED: OnceLock<Paths> = OnceLock::new();

fn shared() -> &'static Paths {
    SHARED.get_or_init(|| folder("shared"))
}

async fn acquire(paths: &Paths) -> Result<Broker> {
    Ok(Broker::acquire(paths, &|line| println!("{line}")).await?)
}

async fn only_node(paths: &Paths) -> Result<NodeStatus> {
    let nodes = broker::status(paths).await;
    let [node] = <[NodeStatus; 1]>::try_from(nodes)
        .ok()
        .context("not one node")?;
    Ok(node)
}

fn acquire_and_print(target: &Path) -> ! {
    let mut paths = Paths::find().unwrap();
    paths.target = target.to_owned();
    let broker = block_on(async { Ok(Broker::acquire(&paths, &|_| {}).await) }).unwrap();
    match broker {
        Ok(broker) => println!("{} {}", broker.label(), broker.address.port),
        Err(e) => println!("{}", e.why),
    }
    std::process::exit(0)
}

/// Another command of the lab, in a process of its own.
fn other_command(paths: &Paths, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(kit::internal::this_program().unwrap());
    command
        .arg(ACQUIRE)
        .arg(&paths.target)
        .env_remove("AMQP_URL");
    command.envs(env.iter().copied());
    command.stdout(std::process::Stdio::piped());
    command
}

fn printed(output: Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn alive(pid: i32) -> bool {
    // A zombie is dead: its parent just has not looked yet.
    let out = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output();
    let stat = printed(out.unwrap());
    !stat.is_empty() && !stat.starts_with('Z')
}

async fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_so() {
        ensure!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn channel(broker: &Broker, vhost: &str) -> Result<(Connection, Channel)> {
    let url = broker.address.url(vhost);
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok((connection, channel))
}

async fn publish_to_durable(channel: &Channel, queue: &str, count: usize) -> Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(queue.into(), durable, FieldTable::default())
        .await?;
    for _ in 0..count {
        channel
            .basic_publish(
                "".into(),
                queue.into(),
                BasicPublishOptions::default(),
                b"message",
                BasicProperties::default().with_delivery_mode(2),
            )
            .await?
            .await?;
    }
    Ok(())
}

async fn queue(broker: &Broker, vhost: &str, name: &str) -> Result<Queue> {
    broker.queue(vhost, name).await?.context("no such queue")
}

async fn one_node_for_all() -> Result<()> {
    let paths = shared();
    let commands: Vec<_> = (0..3).map(|_| other_command(paths, &[]).spawn()).collect();
    let broker = acquire(paths).await?;
    for command in commands {
        let line = printed(command?.wait_with_output()?);
        ensure!(
            line == format!("{} {}", broker.label(), broker.address.port),
            "{line}"
        );
    }
    ensure!(broker.kind == Kind::Private { slot: 0 }, "{broker:?}");
    let start = Instant::now();
    acquire(paths).await?;
    ensure!(
        start.elapsed() < Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

async fn secrets_are_private() -> Result<()> {
    let broker = acquire(shared()).await?;
    let password = &broker.address.password;
    ensure!(!format!("{broker:?}").contains(password));
    let mut folders = vec![shared().data().join("broker")];
    let mut holders = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes
                .windows(password.len())
                .any(|w| w == password.as_bytes())
            {
                let mode = fs::metadata(&path)?.permissions().mode();
                let name = path.file_name().unwrap_or_default();
                ensure!(
                    name == "state.json" || name == "rabbitmq.conf",
                    "the password is in {}",
                    path.display()
                );
                ensure!(mode & 0o777 == 0o600, "{}: mode {mode:o}", path.display());
                holders += 1;
            }
        }
    }
    ensure!(holders == 2, "the password is in {holders} files");
    let node = only_node(shared()).await?;
    let folder = node.log.parent().context("no folder")?;
    let mode = fs::metadata(folder)?.permissions().mode();
    ensure!(mode & 0o777 == 0o700, "the node's folder has mode {mode:o}");
    let everything = printed(
        Command::new("ps")
            .args(["-A", "-ww", "-o", "args"])
            .output()?,
    );
    ensure!(
        !everything.contains(password),
        "the password is in somebody's arguments"
    );
    Ok(())
}

#[cfg(target_os = "linux")]
async fn loopback_only() -> Result<()> {
    acquire(shared()).await?;
    let pid = only_node(shared()).await?.node_pid.context("no pid")?;
    let mut inodes = Vec::new();
    for fd in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = fs::read_link(fd?.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        if let Some(inode) = target
            .strip_prefix("socket:[")
            .and_then(|t| t.strip_suffix(']'))
        {
            inodes.push(inode.to_owned());
        }
    }
    let mut listeners = 0;
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("/proc/net/{table}"))?.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else {
                continue;
            };
            if inodes.iter().any(|ours| ours == inode) {
                // 127.0.0.1 in the kernel's notation.
                ensure!(local.starts_with("0100007F:"), "listens on {local}");
                listeners += 1;
            }
        }
    }
    ensure!(listeners == 3, "{listeners} listeners");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
async fn loopback_only() -> Result<()> {
    Ok(())
}

async fn vhosts() -> Result<()> {
    let broker = acquire(shared()).await?;
    let name = "a/b ü%";
    broker.create_vhost(name).await?;
    let (connection, _channel) = channel(&broker, name).await?;
    ensure!(broker.queue(name, "viewed").await?.is_none());
    connection.close(200, "done".into()).await?;
    broker.delete_vhost(name).await?;
    broker.delete_vhost(name).await.context("a second time")?;
    ensure!(
        channel(&broker, name).await.is_err(),
        "the vhost is still there"
    );
    Ok(())
}

async fn counts_are_exact() -> Result<()> {
    let broker = acquire(shared()).await?;
    let vhost = "counts";
    broker.create_vhost(vhost).await?;
    let (_connection, channel) = channel(&broker, vhost).await?;
    for round in 1..=20 {
        publish_to_durable(&channel, "viewed", 1).await?;
        ensure!(queue(&broker, vhost, "viewed").await?.ready == round);
    }
    channel.basic_qos(2, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            "viewed".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    for _ in 0..2 {
        consumer.next().await.context("no delivery")??;
    }
    let viewed = queue(&broker, vhost, "viewed").await?;
    ensure!((viewed.ready, viewed.unacked) == (18, 2), "{viewed:?}");
    ensure!(viewed.consumers == Some(1), "{viewed:?}");
    ensure!(
        viewed.durable && !viewed.exclusive && !viewed.auto_delete,
        "{viewed:?}"
    );
    ensure!(viewed.arguments == serde_json::json!({}), "{viewed:?}");
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    channel
        .queue_declare("mine".into(), exclusive, FieldTable::default())
        .await?;
    let mine = queue(&broker, vhost, "mine").await?;
    ensure!(mine.exclusive && mine.consumers.is_none(), "{mine:?}");
    broker.delete_vhost(vhost).await
}

async fn own_nodes() -> Result<()> {
    let paths = folder("own");
    let quiet = |_: &str| {};
    let first = OwnNode::acquire(&paths, &quiet).await?;
    first.broker().create_vhost("v").await?;
    let (_connection, before) = channel(first.broker(), "v").await?;
    publish_to_durable(&before, "viewed", 3).await?;
    let start = Instant::now();
    first.kill().await?;
    // The other one boots while the first comes back.
    let second = OwnNode::acquire(&paths, &quiet).await?;
    first.up().await?;
    println!(
        "killed, and up with a second node after {:?}",
        start.elapsed()
    );
    ensure!(queue(first.broker(), "v", "viewed").await?.ready == 3);
    ensure!(first.broker().kind == Kind::Private { slot: 1 });
    ensure!(second.broker().kind == Kind::Private { slot: 2 });
    drop(first);
    let again = OwnNode::acquire(&paths, &quiet).await?;
    ensure!(again.broker().kind == Kind::Private { slot: 1 });
    let left = again.broker().queue("v", "viewed").await;
    ensure!(left.is_err(), "the vhost of the last user is still there");
    ensure!(again.freeze(), "cannot freeze");

    let nodes = broker::status(&paths).await;
    let pids = nodes
        .iter()
        .flat_map(|node| [node.keeper_pid, node.node_pid]);
    let pids: Vec<i32> = pids.flatten().collect();
    ensure!(pids.len() == 4, "{nodes:?}");
    let start = Instant::now();
    ensure!(broker::down(&paths).await? == 2);
    println!("two nodes down after {:?}", start.elapsed());
    for pid in pids {
        ensure!(!alive(pid), "process {pid} is left");
    }
    ensure!(broker::status(&paths).await.is_empty());
    let left = paths.data().join("broker/node-1/run");
    ensure!(!left.exists(), "{} is left", left.display());
    Ok(())
}

async fn keeper_killed() -> Result<()> {
    let paths = folder("keeper");
    let first = acquire(&paths).await?;
    let node = only_node(&paths).await?;
    let [keeper, vm] = [node.keeper_pid, node.node_pid].map(|pid| pid.unwrap_or_default());
    ensure!(alive(keeper) && alive(vm));
    Command::new("kill")
        .args(["-9", &keeper.to_string()])
        .status()?;
    until(
        "the node goes with its keeper",
        Duration::from_secs(3),
        || !alive(vm),
    )
    .await?;
    let second = acquire(&paths).await?;
    ensure!(
        first.address != second.address,
        "the old state was believed"
    );
    ensure!(broker::down(&paths).await? == 1);
    Ok(())
}

async fn idle_stop() -> Result<()> {
    let paths = folder("idle");
    let env = [("LAB_BROKER_IDLE_SECONDS", "2")];
    let line = printed(other_command(&paths, &env).output()?);
    ensure!(line.contains("private node"), "{line}");
    let node = only_node(&paths).await?;
    let broker = node.broker.context("not up")?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        broker.touch();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let pids = [node.keeper_pid, node.node_pid].map(|pid| pid.unwrap_or_default());
    ensure!(pids.iter().all(|pid| alive(*pid)), "stopped while in use");
    until("it stops by itself", Duration::from_secs(5), || {
        !pids.iter().any(|pid| alive(*pid))
    })
    .await?;
    ensure!(!paths.data().join("broker/node-0/state.json").exists());
    Ok(())
}

async fn given() -> Result<()> {
    let broker = acquire(shared()).await?;
    let port = broker.address.port;
    let url = broker.address.url("/");
    let management = ("MANAGEMENT_URL", broker.management.as_str());
    let paths = folder("given");
    let try_url = |url: &str, more: &[(&str, &str)]| {
        let mut env = vec![("AMQP_URL", url)];
        env.extend_from_slice(more);
        Ok::<_, std::io::Error>(printed(other_command(&paths, &env).output()?))
    };
    let line = try_url(&url, &[management])?;
    ensure!(
        line == format!("{}, from AMQP_URL {port}", broker.version),
        "{line}"
    );
    let wrong = url.replace(&broker.address.password, "guessed");
    let cases = [
        (wrong.as_str(), management, "refuses user lab"),
        (
            url.as_str(),
            ("MANAGEMENT_URL", "http://127.0.0.1:1"),
            "no management API",
        ),
        (
            "amqp://me:guessed@127.0.0.1:1",
            management,
            "127.0.0.1:1 that does not answer",
        ),
        ("amqps://me:guessed@127.0.0.1", management, "not amqps://"),
        (
            "http://me:guessed@127.0.0.1",
            management,
            "AMQP_URL cannot be used",
        ),
        (
            "amqp://me:guessed@127.0.0.1:port",
            management,
            "AMQP_URL cannot be used",
        ),
        (
            broker.management.as_str(),
            management,
            "AMQP_URL cannot be used",
        ),
    ];
    for (url, more, expected) in cases {
        let line = try_url(url, &[more])?;
        if !line.contains(expected) || line.lines().count() != 1 || line.contains("guessed") {
            bail!("for {url}: {line}");
        }
    }
    Ok(())
}

async fn unusable_folder() -> Result<()> {
    let paths = folder("unusable");
    fs::create_dir_all(&paths.target)?;
    fs::write(paths.data(), "a file where a folder is needed")?;
    let Err(e) = Broker::acquire(&paths, &|_| {}).await else {
        bail!("a broker in a file");
    };
    ensure!(
        e.why.contains("needs the folder") && e.why.lines().count() == 1,
        "{e}"
    );
    Ok(())
}
