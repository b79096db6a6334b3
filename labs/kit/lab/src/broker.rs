//! `broker up|down|status|url`: starts and stops the lab's broker, or prints what runs.

use std::process::ExitCode;
use std::time::Duration;

use anstream::println;
use anyhow::Result;
use broker::{self, Broker};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use crate::shared_broker;
use command::{acquire, describe_login};
use process::stop::until_stopped;
use terminal::{BOLD, DIM, GOOD, TYPE, interactive};
use terminal::{labelled, user_error};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[arg(default_value = "status")]
    action: Action,
    /// With `url`: the chapter whose services use it
    #[arg(value_name = "NN")]
    chapter: Option<String>,
    /// With `url`: the solution's services instead of yours
    #[arg(long)]
    solution: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Action {
    /// Start it, unless it runs
    Up,
    /// Stop it, and remove what it kept, except its logs
    Down,
    /// Say what runs
    Status,
    /// Give its AMQP_URL, as a chapter's services get it
    Url,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    until_stopped(async {
        match args.action {
            Action::Up => {
                let broker = acquire(paths).await?;
                println!("{GOOD}✔{GOOD:#} {}", broker.label());
                describe(paths, &broker);
            }
            Action::Down => match broker::down(paths).await? {
                0 => println!("No broker of this clone runs."),
                1 => println!("{GOOD}✔{GOOD:#} the broker is stopped"),
                n => println!("{GOOD}✔{GOOD:#} {n} brokers are stopped"),
            },
            Action::Status => status(paths).await,
            Action::Url => url(paths, args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
    .map(|ended| ended.code())
}

/// The address with the password, for `export AMQP_URL=$(just broker url 02)`; never on a
/// terminal, where it would stay in scroll-back and screen shares.
async fn url(paths: &Paths, args: &Args) -> Result<()> {
    let variant = Variant::from_flag(args.solution);
    let Some(chapter) = &args.chapter else {
        return Err(user_error(
            "the address names a chapter's vhost, so the command needs the chapter",
            "export AMQP_URL=$(just broker url 02)",
        ));
    };
    let chapter = Chapter::resolve(&paths.root, chapter)?;
    if interactive() {
        return Err(user_error(
            "the address contains a password, which is not shown on a terminal",
            format!(
                "export AMQP_URL=$(just broker url {}{})",
                chapter.number,
                variant.flag()
            ),
        ));
    }
    let broker = shared_broker::acquire(paths, &chapter, variant).await?;
    let vhost = chapter.package(variant);
    broker.create_vhost(&vhost).await?;
    println!("{}", broker.address.url(&vhost));
    Ok(())
}

fn describe(paths: &Paths, broker: &Broker) {
    let address = &broker.address;
    row("AMQP", &format!("{}:{}", address.host, address.port));
    row("management", &broker.management);
    row("login", &describe_login(paths, broker));
}

fn row(label: &str, text: &str) {
    println!("{}", labelled(&format!("  {DIM}{label}{DIM:#}"), 14, text));
}

async fn status(paths: &Paths) {
    let nodes = broker::status(paths).await;
    if nodes.is_empty() {
        println!("No broker of this clone runs. One is started when it is needed.");
        row("which", &format!("{TYPE}just doctor{TYPE:#}"));
    }
    for node in nodes {
        let purpose = match node.slot {
            0 => "shared",
            _ => "for a check that kills it",
        };
        match &node.broker {
            Some(broker) => println!("{BOLD}{}{BOLD:#} · {purpose}", broker.label()),
            None => println!("{BOLD}a broker that does not answer yet{BOLD:#} · {purpose}"),
        }
        if let Some(broker) = &node.broker {
            describe(paths, broker);
        }
        let pids = [("keeper", node.keeper_pid), ("node", node.node_pid)];
        let pids: Vec<String> = pids
            .into_iter()
            .filter_map(|(name, pid)| Some(format!("{name} {}", pid?)))
            .collect();
        row("processes", &pids.join(", "));
        row("last used", &format!("{} ago", roughly(node.unused_for)));
        row("logs", &paths.short(&node.log));
    }
}

fn roughly(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
