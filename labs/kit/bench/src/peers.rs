//! The same work done by other clients of RabbitMQ, in turn with lapin, on the same broker.
//!
//! Each peer is a small program in `peers/` with one command line; what it needs is installed under
//! `target/bench/peers`, but for C: the compiler and `librabbitmq-dev` are the system's.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use course::paths::Paths;
use process::{Group, Launch, Process};
use tokio::process::Command;

use super::chart::{Axis, Chart, Line, Places, Scale, joined, measured_lines};
use super::measured_program::{MeasuredProgram, QUEUE, VHOST, printed};
use super::say;
use super::session::Session;
use super::used::Used;

/// The kinds of work: a name, its part of all messages, and the confirms in flight, or the messages of an ack.
const RATES: [(&str, u32, Work); 4] = [
    ("published, 1 in flight", 20, Work::Publish(1)),
    ("published, 256 in flight", 1, Work::Publish(256)),
    ("consumed, ack each", 1, Work::Consume(1)),
    ("consumed, ack for 64", 1, Work::Consume(64)),
];

#[derive(Clone, Copy)]
enum Work {
    Publish(u32),
    Consume(u32),
}

/// A peer that can run here: its program, and what comes before the work on its command line.
struct Peer {
    name: &'static str,
    program: PathBuf,
    script: Option<PathBuf>,
}

/// Measures lapin and every peer that can be had here.
pub async fn measure(session: &mut Session<'_>, paths: &Paths) -> Result<()> {
    let peers = installed(paths).await?;
    ensure!(!peers.is_empty(), "no peer can be had here: see above");
    rates(session, &peers).await?;
    calls(session, &peers).await
}

fn names(peers: &[Peer]) -> Vec<&'static str> {
    std::iter::once("lapin")
        .chain(peers.iter().map(|peer| peer.name))
        .collect()
}

async fn rates(session: &mut Session<'_>, peers: &[Peer]) -> Result<()> {
    let effort = session.effort;
    let count: u32 = effort.pick(10_000, 30_000);
    let program = session.program;
    let places = Places::named("1 kB, persistent", &RATES.map(|(name, ..)| name));
    let runs = effort.pick(1, 3);
    let names = names(peers);
    let [lines, used, waits, rest] = measured_lines(&names, &places, runs, async |line, place| {
        let (_, part, work) = RATES[place];
        let count = count / part;
        program.begin_anew().await?;
        let (lapin, peer) = match work {
            Work::Publish(window) => (
                format!("publish --window {window} --count {count}"),
                format!("publish {count} {window} 1024"),
            ),
            Work::Consume(every) => {
                let fill = format!("publish --count {count}");
                program.load::<2>(&fill, None).await?;
                let lapin = format!("consume --ack-every {every} --count {count}");
                (lapin, format!("consume {count} 256 {every}"))
            }
        };
        let before = Used::now()?;
        let rate = match line.checked_sub(1) {
            None => program.load::<2>(&lapin, None).await?[0],
            Some(other) => peers[other].run::<1>(program, &peer).await?[0],
        };
        let [used, waits, rest] = Used::since(&before, count)?;
        let left = if matches!(work, Work::Publish(_)) {
            count
        } else {
            0
        };
        program.holds(QUEUE, left.into()).await?;
        Ok(Some([rate, used, waits, rest]))
    })
    .await?;
    for (name, title, y, lines, note) in [
        (
            "rate",
            "How fast are other clients, with the same guarantee?",
            "messages a second",
            &lines,
            ratios(&lines),
        ),
        (
            "time",
            "How much processor time does a client take?",
            "µs a message",
            &used,
            "Its start included.".to_owned(),
        ),
        (
            "waits",
            "How often does a client wait?",
            "times a message",
            &waits,
            "Each time the core is another thread's or program's, and each costs some microseconds.".to_owned(),
        ),
        (
            "broker",
            "And how much does the broker take meanwhile?",
            "µs a message",
            &rest,
            "What the machine did beside the client: little but the broker ran.".to_owned(),
        ),
    ] {
        session.keep(Chart {
            name: format!("peers-{name}"),
            title: title.to_owned(),
            x: places.axis.clone(),
            y: Axis::new(y, Scale::Linear),
            note,
            lines: lines.clone(),
        })?;
    }
    Ok(())
}

/// What each peer reaches for one of lapin.
fn ratios(lines: &[Line]) -> String {
    let Some((lapin, peers)) = lines.split_first() else {
        return String::new();
    };
    let told = peers.iter().map(|peer| {
        let pairs = peer.points.iter().zip(&lapin.points);
        let ratios: Vec<String> = pairs
            .map(|(peer, lapin)| format!("{:.2}", peer.y / lapin.y))
            .collect();
        format!("{} {}", peer.name, ratios.join(", "))
    });
    let told = told.collect::<Vec<_>>().join("; ");
    format!(
        "For each message of lapin, in this order: {told}. One publisher or consumer; 256 confirms in flight or a prefetch of 256."
    )
}

async fn calls(session: &mut Session<'_>, peers: &[Peer]) -> Result<()> {
    let effort = session.effort;
    let count: u32 = effort.pick(1_000, 3_000);
    let program = session.program;
    let names = names(peers);
    let one = Places::named("calls", &["one at a time"]);
    let [first, last] = measured_lines(&names, &one, effort.pick(1, 3), async |line, _| {
        program.begin_anew().await?;
        Ok(Some(match line.checked_sub(1) {
            None => {
                program
                    .load::<2>(&format!("call --count {count}"), None)
                    .await?
            }
            Some(peer) => {
                peers[peer]
                    .run::<2>(program, &format!("call {count}"))
                    .await?
            }
        }))
    })
    .await?;
    let places = Places::named("one call at a time", &["p50", "p99"]);
    session.keep(Chart {
        name: "peers-calls".to_owned(),
        title: "How long does a call over two queues take with other clients?".to_owned(),
        x: places.axis,
        y: Axis::new("µs", Scale::Linear),
        lines: joined(first, last),
        note: "Client and server are one program on two connections; neither awaits a confirm."
            .to_owned(),
    })
}

impl Peer {
    /// Runs it to its end and gives the figures that it prints.
    async fn run<const K: usize>(&self, program: &MeasuredProgram, work: &str) -> Result<[f64; K]> {
        let script = self.script.iter().map(Into::into);
        let launch = Launch {
            program: self.program.clone(),
            name: self.name.to_owned(),
            arguments: script.chain(work.split(' ').map(Into::into)).collect(),
            environment: [("AMQP_URL".to_owned(), program.broker().address.url(VHOST))].into(),
            log: Some(program.log(self.name)),
        };
        let process = Process::start(&launch, |_| ()).await?;
        printed(&process)
            .await
            .with_context(|| format!("{} {work}", self.name))
    }
}

/// Installs what the peers need. One that cannot be had is told and left out.
async fn installed(paths: &Paths) -> Result<Vec<Peer>> {
    let sources = paths.root.join("labs/kit/bench/peers");
    let home = paths.target.join("bench/peers");
    std::fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let mut peers = Vec::new();
    let known: [(&str, Install); 5] = [
        ("amqplib (Node.js)", node),
        ("pika (Python)", |at| python(at, "pika_peer.py")),
        ("aio-pika (Python)", |at| python(at, "aio_pika_peer.py")),
        ("amqprs (Rust)", rust),
        ("rabbitmq-c (C)", c),
    ];
    for (name, install) in known {
        say(&format!("nothing yet: installing {name}"));
        let (steps, program, script) = install(&At {
            sources: &sources,
            home: &home,
        });
        match all(&steps, &home).await {
            Ok(()) => peers.push(Peer {
                name,
                program,
                script,
            }),
            Err(error) => say(&format!("no {name}: {error:#}")),
        }
    }
    Ok(peers)
}

/// Where the peers' sources are, and where what they need is installed.
struct At<'a> {
    sources: &'a Path,
    home: &'a Path,
}

/// The commands that install a peer, its program, and the script for that.
type Install = fn(&At<'_>) -> (Vec<Vec<String>>, PathBuf, Option<PathBuf>);

fn words(command: &str, more: &[&Path]) -> Vec<String> {
    let more = more.iter().map(|path| path.display().to_string());
    command.split(' ').map(str::to_owned).chain(more).collect()
}

fn node(at: &At<'_>) -> (Vec<Vec<String>>, PathBuf, Option<PathBuf>) {
    // Beside its packages, where Node looks for them.
    let script = at.home.join("amqplib.js");
    let steps = vec![
        words(
            "npm install --silent --no-audit --no-fund amqplib@0.10 --prefix",
            &[at.home],
        ),
        words("cp", &[&at.sources.join("amqplib.js"), &script]),
    ];
    (steps, "node".into(), Some(script))
}

fn python(at: &At<'_>, script: &str) -> (Vec<Vec<String>>, PathBuf, Option<PathBuf>) {
    let home = at.home.join("python");
    let python = home.join("bin/python");
    let install = words(
        "-m pip install --quiet --disable-pip-version-check pika==1.* aio-pika==9.*",
        &[],
    );
    let steps = vec![
        words("python3 -m venv", &[&home]),
        words(&python.display().to_string(), &[])
            .into_iter()
            .chain(install)
            .collect(),
    ];
    (steps, python, Some(at.sources.join(script)))
}

fn rust(at: &At<'_>) -> (Vec<Vec<String>>, PathBuf, Option<PathBuf>) {
    let target = at.home.join("amqprs");
    let mut build = words(
        "cargo build --quiet --release --locked --manifest-path",
        &[&at.sources.join("amqprs/Cargo.toml")],
    );
    build.extend(words("--target-dir", &[&target]));
    (vec![build], target.join("release/peer-amqprs"), None)
}

fn c(at: &At<'_>) -> (Vec<Vec<String>>, PathBuf, Option<PathBuf>) {
    let program = at.home.join("rabbitmq-c");
    let mut build = words("cc -O2 -o", &[&program, &at.sources.join("rabbitmq-c.c")]);
    build.push("-lrabbitmq".to_owned());
    (vec![build], program, None)
}

/// Runs the commands, one after the other.
async fn all(commands: &[Vec<String>], home: &Path) -> Result<()> {
    for words in commands {
        let (program, arguments) = words.split_first().context("no command")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(home)
            .stdin(Stdio::null());
        let shown = words.join(" ");
        let ended = Group::spawn(&mut command)
            .with_context(|| shown.clone())?
            .wait()
            .await?;
        ensure!(ended.success(), "`{shown}` ended with {ended}");
    }
    Ok(())
}
