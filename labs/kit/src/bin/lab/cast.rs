//! The services of a chapter that `run` plays: started, heard, stopped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::stop::Group;

/// What a service gets to finish the message in hand.
const GRACE: Duration = Duration::from_secs(5);

/// One service to start: its role and its environment.
#[derive(Debug, Clone)]
pub struct Part {
    pub role: String,
    pub env: BTreeMap<String, String>,
}

/// What is heard of a service.
#[derive(Debug)]
pub enum Heard {
    /// It printed a line.
    Line(usize, String),
    /// It ended, by itself or because it was asked to.
    Ended(usize, String),
}

/// The running services. Dropped, they are killed.
pub struct Cast {
    running: JoinSet<()>,
    stop: tokio::sync::watch::Sender<bool>,
    heard: UnboundedReceiver<Heard>,
}

impl Cast {
    /// Starts all parts with `program`.
    pub fn start(program: &Path, parts: &[Part]) -> Result<Self> {
        let (sender, heard) = unbounded_channel();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut running = JoinSet::new();
        for (index, part) in parts.iter().enumerate() {
            let service = spawn(program, part)
                .with_context(|| format!("cannot start {} {}", program.display(), part.role))?;
            running.spawn_local(follow(service, index, sender.clone(), stopped.clone()));
        }
        Ok(Self {
            running,
            stop,
            heard,
        })
    }

    /// The next thing heard; `None` when all have ended. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Asks all to end and waits until they have, telling `hear` of their last words.
    pub async fn stop(mut self, mut hear: impl FnMut(Heard)) {
        // Those that have ended already do not listen, and need not.
        let _ = self.stop.send(true);
        while let Some(heard) = self.next().await {
            hear(heard);
        }
        while self.running.join_next().await.is_some() {}
    }
}

/// Starts one service in a process group of its own.
fn spawn(program: &Path, part: &Part) -> std::io::Result<Group> {
    Group::spawn(
        Command::new(program)
            .arg(&part.role)
            .envs(&part.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    )
}

/// Passes on what a service prints until it ends.
async fn follow(
    mut service: Group,
    index: usize,
    sender: UnboundedSender<Heard>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    let child = service.child();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let words = async {
        tokio::join!(
            pass_on(stdout, index, &sender),
            pass_on(stderr, index, &sender)
        )
    };
    let end = async {
        tokio::select! {
            status = service.wait() => status.map_or_else(|error| error.to_string(), described),
            // An error means that nobody can ask any more, which asks too.
            _ = stopped.wait_for(|stop| *stop) => {
                service.stop(GRACE).await;
                "stopped".to_owned()
            }
        }
    };
    let (end, _) = tokio::join!(end, words);
    // Nobody listens any more when the command ends.
    let _ = sender.send(Heard::Ended(index, end));
}

async fn pass_on(
    pipe: Option<impl AsyncRead + Unpin>,
    index: usize,
    sender: &UnboundedSender<Heard>,
) {
    let Some(pipe) = pipe else { return };
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    // A program may print bytes that are no text; they shall not end the listening.
    while pipe
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if sender.send(Heard::Line(index, text)).is_err() {
            return;
        }
    }
}

fn described(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended by itself, exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// For each role its port: the one wished for, or the next free one.
pub fn ports(wished: &[(String, u16)]) -> Result<BTreeMap<String, u16>> {
    let mut given = BTreeMap::new();
    for (role, first) in wished {
        // A port that a later role wishes for is left to it.
        let others: Vec<u16> = wished
            .iter()
            .filter(|(other, _)| other != role)
            .map(|(_, port)| *port)
            .collect();
        let taken = |port: &u16| others.contains(port) || given.values().any(|p| p == port);
        let port = (*first..=u16::MAX)
            .find(|port| !taken(port) && free(*port))
            .with_context(|| format!("no port from {first} up is free for {role}"))?;
        given.insert(role.clone(), port);
    }
    Ok(given)
}

/// Whether nothing listens on the loopback port.
pub fn free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_gives_way_to_the_next_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let wished = [("a".to_owned(), port), ("b".to_owned(), port + 1)];
        let given = ports(&wished).unwrap();
        assert!(given["a"] > port);
        assert_ne!(given["a"], given["b"]);
        assert_ne!(given["a"], port + 1, "that one is wished for by b");
    }

    #[test]
    fn services_are_heard_and_stopped() {
        let part = |role: &str| Part {
            role: role.to_owned(),
            env: BTreeMap::new(),
        };
        let dir = std::env::temp_dir();
        let script = dir.join(format!("lab-cast-{}", std::process::id()));
        std::fs::write(
            &script,
            "#!/bin/sh\necho \"I am $1\"\n[ $1 = short ] && exit 3\nexec sleep 60\n",
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&script, mode).unwrap();
        actix_web::rt::System::new().block_on(async {
            let mut cast = Cast::start(&script, &[part("short"), part("long")]).unwrap();
            let mut heard = Vec::new();
            while heard.len() < 3 {
                heard.push(format!("{:?}", cast.next().await.unwrap()));
            }
            cast.stop(|last| heard.push(format!("{last:?}"))).await;
            heard.sort();
            assert_eq!(
                heard,
                [
                    r#"Ended(0, "ended by itself, exit code 3")"#,
                    r#"Ended(1, "stopped")"#,
                    r#"Line(0, "I am short")"#,
                    r#"Line(1, "I am long")"#,
                ]
            );
        });
        std::fs::remove_file(&script).unwrap();
    }
}
