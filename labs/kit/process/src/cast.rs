//! The services of a chapter that `run` plays: started, heard, stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::guard::{self, Report};
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// What a service gets to finish the message in hand.
pub const GRACE: Duration = Duration::from_secs(5);

/// One service to start.
#[derive(Debug, Clone)]
pub struct Part {
    /// The program's arguments, of which its role is the first.
    pub arguments: Vec<OsString>,
    /// Its environment, added to this process's own.
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
                .with_context(|| format!("cannot start {}", program.display()))?;
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

/// Starts one service behind a guard, which kills it when this process is gone.
fn spawn(program: &Path, part: &Part) -> std::io::Result<Child> {
    guarded(guard::ARGUMENT, program, part)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// The command for `part` behind the guard that the hidden `argument` asks for.
pub fn guarded(argument: &str, program: &Path, part: &Part) -> std::io::Result<Command> {
    let mut command = Command::new(crate::this_program()?);
    command
        .arg(argument)
        .arg(program)
        .args(&part.arguments)
        // Who has no port of its own shall not believe that ours is.
        .env_remove("PORT")
        .envs(&part.env)
        // Ctrl-C at the terminal is for `lab` alone, which then asks the services.
        .process_group(0);
    Ok(command)
}

/// Passes on what a service prints until it ends.
async fn follow(
    mut guard: Child,
    index: usize,
    sender: UnboundedSender<Heard>,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    // What the service prints comes by the guard's error output.
    let words = pass_on(guard.stderr.take(), index, &sender);
    let end = watch_over(&mut guard, &mut stopped);
    let (end, ()) = tokio::join!(end, words);
    // Nobody listens any more when the command ends.
    let _ = sender.send(Heard::Ended(index, end));
}

/// Waits for a service's end, asking for it when `stopped` says so; tells how it ended.
async fn watch_over(guard: &mut Child, stopped: &mut tokio::sync::watch::Receiver<bool>) -> String {
    let mut lifeline = guard.stdin.take();
    let Some(reports) = guard.stdout.take() else {
        return "its guard says nothing".to_owned();
    };
    let mut reports = BufReader::new(reports).lines();
    let mut service = None;
    let mut deadline = None;
    let end = loop {
        let patience = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = reports.next_line() => match line.ok().flatten().as_deref().map(Report::parse) {
                Some(Some(Report::Running(pid))) => service = Some(Pid::from_raw(pid)),
                Some(Some(Report::Ended(_))) if deadline.is_some() => break "stopped".to_owned(),
                Some(Some(Report::Ended(exit))) => break format!("ended by itself: {exit}"),
                Some(Some(Report::Failed(why))) => break why,
                Some(None) => continue,
                None => break "killed".to_owned(),
            },
            // An error means that nobody can ask any more, which asks too.
            _ = stopped.wait_for(|stop| *stop), if deadline.is_none() => {
                deadline = Some(tokio::time::Instant::now() + GRACE);
            }
            // The guard kills it when this is closed.
            () = patience, if lifeline.is_some() => drop(lifeline.take()),
        }
        if let (Some(pid), true) = (service, deadline.is_some()) {
            // It may have ended by itself meanwhile; that is what is wanted.
            let _ = killpg(pid, Signal::SIGTERM);
        }
    };
    drop(lifeline);
    let _ = guard.wait().await;
    end
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

/// For each service its port: the one wished for, or the next free one.
pub fn ports(wished: &[(String, u16)]) -> Result<BTreeMap<String, u16>> {
    let mut given = BTreeMap::new();
    for (name, first) in wished {
        // A port that another service wishes for is left to it.
        let others: Vec<u16> = wished
            .iter()
            .filter(|(other, port)| other != name && port != first)
            .map(|(_, port)| *port)
            .collect();
        let taken = |port: &u16| others.contains(port) || given.values().any(|p| p == port);
        let port = (*first..=u16::MAX)
            .find(|port| !taken(port) && free(*port))
            .with_context(|| format!("no port from {first} up is free for {name}"))?;
        given.insert(name.clone(), port);
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
}
