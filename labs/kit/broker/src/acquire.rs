//! Finds the node of a slot, or starts its keeper. Any number of commands may do so at once: the
//! result is one node.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::node_dir::{Keeping, NodeDir, Source, State};
use super::{NoBroker, amqp, compose, install, keeper};
use course::paths::Paths;
use process::this_program;

const POLL: Duration = Duration::from_millis(5);
/// How long a node may take to boot on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);
/// How long it may take if it downloads its image first.
const DOWNLOAD: Duration = Duration::from_secs(15 * 60);
/// How long to wait for the greeting of a node, which takes a millisecond.
const GREETING: Duration = Duration::from_secs(1);

/// The node of a slot, running and marked as used.
pub(super) async fn node(
    node: &NodeDir,
    paths: &Paths,
    progress: &dyn Fn(&str),
) -> Result<State, NoBroker> {
    let short = paths.short(&node.dir);
    let unusable = |e| unusable(&short, &e);
    node.create().map_err(unusable)?;
    // Mark first, then read the state: the keeper removes the state first, then looks at the mark.
    node.touch().map_err(unusable)?;
    let mut waiting = false;
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        match node.keeping().map_err(unusable)? {
            Keeping::Up(state) if is_up(&state).await => return Ok(*state),
            Keeping::Free => {
                if let Some(state) = start(node, paths, progress).await? {
                    return Ok(state);
                }
            }
            Keeping::Up(_) | Keeping::Busy if !waiting => {
                waiting = true;
                if let Some((_, Source::Compose)) = node.keeper() {
                    deadline = Instant::now() + DOWNLOAD;
                }
                progress("waiting for a RabbitMQ node that is starting …");
            }
            Keeping::Up(_) | Keeping::Busy => {}
        }
        if Instant::now() > deadline {
            return Err(NoBroker {
                why: format!("the RabbitMQ node of {short} has a keeper, but does not answer"),
                mend: "just broker down".into(),
            });
        }
        sleep(POLL).await;
    }
}

/// Whether the node of this state is up, and no other node on its port.
pub(super) async fn is_up(state: &State) -> bool {
    amqp::greeting("127.0.0.1", state.port, GREETING)
        .await
        .is_ok_and(|greeting| greeting.cluster_name == state.cluster_name)
}

pub(super) fn unusable(folder: &str, e: &io::Error) -> NoBroker {
    NoBroker {
        why: format!("a RabbitMQ node needs the folder {folder}: {e}"),
        mend: "export CARGO_TARGET_DIR=<a folder that you may write to>".into(),
    }
}

/// Starts a keeper from the first source that works. `None` when the keeper of another command was
/// quicker.
async fn start(
    node: &NodeDir,
    paths: &Paths,
    progress: &dyn Fn(&str),
) -> Result<Option<State>, NoBroker> {
    let compose_file = compose_file(paths);
    let mut failed: Vec<NoBroker> = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    match compose::engine(&compose_file).await {
        Ok(_) => {
            progress(
                "starting RabbitMQ with Docker Compose (the first start downloads an image) …",
            );
            match start_keeper(node, paths, Source::Compose, &compose_file).await {
                Ok(state) => return Ok(state),
                Err(e) => {
                    progress(&format!("{}; trying an installed RabbitMQ", e.why));
                    failed.push(e);
                }
            }
        }
        Err(why) => missing.push(why),
    }
    match install::find() {
        Ok(install) => {
            progress("starting a private RabbitMQ node …");
            match start_keeper(node, paths, Source::Private, &install.script).await {
                Ok(state) => return Ok(state),
                Err(e) => failed.push(e),
            }
        }
        Err(why) => missing.push(why),
    }
    // A source that failed explains more than a source that is missing.
    Err(failed.pop().unwrap_or_else(|| NoBroker {
        why: format!("no RabbitMQ found: {}", missing.join("; ")),
        mend: "just setup (it installs one)".into(),
    }))
}

pub(super) fn compose_file(paths: &Paths) -> PathBuf {
    paths.root.join("compose/broker.yml")
}

async fn start_keeper(
    node: &NodeDir,
    paths: &Paths,
    source: Source,
    file: &Path,
) -> Result<Option<State>, NoBroker> {
    let log = paths.short(&node.keeper_log());
    let broken = |why: String| NoBroker {
        why,
        mend: format!("cat {log}"),
    };
    let mut keeper = spawn(node, source, file)
        .map_err(|e| broken(format!("cannot start the keeper of a RabbitMQ node: {e}")))?;
    let patience = match source {
        Source::Private => PATIENCE,
        Source::Compose => DOWNLOAD,
    };
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Ok(Keeping::Up(state)) = node.keeping()
            && is_up(&state).await
        {
            return Ok(Some(*state));
        }
        match keeper.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(None),
            Ok(Some(status)) => {
                let mut report = String::new();
                if let Some(mut stdout) = keeper.stdout.take() {
                    // Part of a report is better than none.
                    let _ = stdout.read_to_string(&mut report);
                }
                return Err(match report.split_once('\n') {
                    Some((why, mend)) => NoBroker {
                        why: why.to_owned(),
                        mend: mend.to_owned(),
                    },
                    None if report.is_empty() => {
                        broken(format!("the keeper of a RabbitMQ node ended: {status}"))
                    }
                    None => broken(format!("RabbitMQ does not start: {report}")),
                });
            }
            Ok(None) => sleep(POLL).await,
            Err(e) => {
                return Err(broken(format!(
                    "cannot wait for the keeper of a RabbitMQ node: {e}"
                )));
            }
        }
    }
    Err(broken("RabbitMQ takes too long to start".into()))
}

/// Starts the keeper. It outlives this process, so nobody waits for its end.
fn spawn(node: &NodeDir, source: Source, file: &Path) -> io::Result<Child> {
    let log = File::options()
        .append(true)
        .create(true)
        .open(node.keeper_log())?;
    Command::new(this_program()?)
        .arg(keeper::ARGUMENT)
        .args(keeper::arguments(node, source, file))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
}
