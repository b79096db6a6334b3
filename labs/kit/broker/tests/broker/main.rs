//! Tests of the private node with the installed RabbitMQ, in separate folders, so that they leave a
//! developer's broker alone.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod node_lifecycle;
mod one_node;
mod sources;

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use broker::{self, Address, Broker, NodeStatus, Origin, OwnNode, Queue};
use course::paths::Paths;
use futures_lite::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use libtest_mimic::{Arguments, Failed, Trial};

/// A hidden subcommand of this program: acquires a broker in the folder that follows, as a command of
/// the lab does, and prints its port.
const ACQUIRE: &str = "__acquire";

fn main() {
    broker::dispatch();
    let args: Vec<String> = std::env::args().collect();
    if let [_, command, folder] = args.as_slice()
        && command == ACQUIRE
    {
        acquire_and_print(Path::new(folder));
    }
    let trials = vec![
        // The slow ones first: the others share one node.
        trial("own_nodes", node_lifecycle::own_nodes),
        trial("killed_again", node_lifecycle::killed_again),
        trial("keeper_killed", node_lifecycle::keeper_killed),
        trial("idle_stop", node_lifecycle::idle_stop),
        trial("one_node_for_all", one_node::one_node_for_all),
        trial("secrets_are_private", one_node::secrets_are_private),
        trial("loopback_only", one_node::loopback_only),
        trial("vhosts", one_node::vhosts),
        trial("counts_are_exact", one_node::counts_are_exact),
        trial(
            "quorum_queues_are_counted_exactly",
            one_node::quorum_queues_are_counted_exactly,
        ),
        trial(
            "a_queue_refuses_publishes",
            one_node::a_queue_refuses_publishes,
        ),
        trial(
            "users_have_the_rights_they_are_given",
            one_node::users_have_the_rights_they_are_given,
        ),
        trial(
            "bindings_are_those_of_a_queue",
            one_node::bindings_are_those_of_a_queue,
        ),
        trial("broker_from_url", sources::broker_from_url),
        trial("required_series", sources::required_series),
        trial("unusable_folder", sources::unusable_folder),
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
    let mut command = Command::new(process::this_program().unwrap());
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
    // A zombie is dead: its parent has not collected it yet.
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
    let connection = broker::connect(&url, "test").await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok((connection, channel))
}

async fn publish_to_durable(channel: &Channel, queue: &str, count: usize) -> Result<()> {
    publish_to(channel, queue, FieldTable::default(), count).await
}

/// Declares a durable queue with these arguments, and publishes to it.
async fn publish_to(
    channel: &Channel,
    queue: &str,
    arguments: FieldTable,
    count: usize,
) -> Result<()> {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(queue.into(), durable, arguments)
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
