//! `broker up|down|status`, and the broker as the other commands get it.

use std::process::ExitCode;
use std::time::Duration;

use anstream::println;
use anyhow::Result;
use broker::{self, Broker, Origin};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use crate::run::joined;
use command::acquire;
use process::stop::until_stopped;
use terminal::trouble;
use terminal::{BOLD, DIM, GOOD, TYPE, interactive};

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

/// Who may log in, and where the password stands: never the password itself, which would
/// stay in scroll-back and screen shares.
pub fn login(paths: &Paths, broker: &Broker) -> String {
    let user = &broker.address.user;
    match broker.origin {
        Origin::Given => format!("user {user}, password as in AMQP_URL"),
        Origin::Private { slot } | Origin::Compose { slot } => {
            let file = paths.data().join(format!("broker/node-{slot}/state.json"));
            format!("user {user}, password in {}", paths.short(&file))
        }
    }
}

/// The address with the password, for `export AMQP_URL=$(just broker url 02)`; never on a
/// terminal, where it would stay in scroll-back and screen shares.
async fn url(paths: &Paths, args: &Args) -> Result<()> {
    let solution = if args.solution { " --solution" } else { "" };
    let Some(chapter) = &args.chapter else {
        return Err(trouble(
            "the address is that of a chapter's vhost, so it needs the chapter",
            "export AMQP_URL=$(just broker url 02)",
        ));
    };
    let chapter = Chapter::resolve(&paths.root, chapter)?;
    if interactive() {
        return Err(trouble(
            "the address holds a password, which is not shown on a terminal",
            format!(
                "export AMQP_URL=$(just broker url {}{solution})",
                chapter.number
            ),
        ));
    }
    let variant = match args.solution {
        true => Variant::Solution,
        false => Variant::Lab,
    };
    let broker = joined::acquire(paths, &chapter, variant).await?;
    let vhost = chapter.package(variant);
    broker.create_vhost(&vhost).await?;
    println!("{}", broker.address.url(&vhost));
    Ok(())
}

fn describe(paths: &Paths, broker: &Broker) {
    let address = &broker.address;
    println!(
        "  {DIM}AMQP{DIM:#}        {}:{}",
        address.host, address.port
    );
    println!("  {DIM}management{DIM:#}  {}", broker.management);
    println!("  {DIM}login{DIM:#}       {}", login(paths, broker));
}

async fn status(paths: &Paths) {
    let nodes = broker::status(paths).await;
    if nodes.is_empty() {
        println!("No broker of this clone runs. One is started when it is needed.");
        println!("  {DIM}which{DIM:#}       {TYPE}just doctor{TYPE:#}");
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
        println!("  {DIM}processes{DIM:#}   {}", pids.join(", "));
        println!("  {DIM}last used{DIM:#}   {} ago", roughly(node.unused_for));
        println!("  {DIM}logs{DIM:#}        {}", paths.short(&node.log));
    }
}

fn roughly(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
