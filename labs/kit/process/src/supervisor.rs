//! Runs several programs side by side: starts them, passes on what they print, ends them all.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::{Exit, Launch, Process};

/// How long a program may take to end once it is asked to: it finishes its current message.
pub const GRACE: Duration = Duration::from_secs(5);

/// What a program did. The number is its place among the launches.
#[derive(Debug)]
pub enum Heard {
    /// It printed a line.
    Line(usize, String),
    /// It ended, by itself or because it was asked to.
    Ended(usize, Exit),
}

/// Running programs. Dropping it kills them.
pub struct Supervisor {
    running: Vec<Process>,
    heard: UnboundedReceiver<Heard>,
}

impl Supervisor {
    /// Starts all programs, in this order. What they print is heard, so they need no log.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub async fn start(launches: &[Launch]) -> Result<Self> {
        let (sender, heard) = unbounded_channel();
        let mut running = Vec::new();
        for (index, launch) in launches.iter().enumerate() {
            let mut process = Process::start(launch, |_| ()).await?;
            let output = process.take_output().context("the output has a log")?;
            let (ended, sender) = (process.wait(), sender.clone());
            tokio::task::spawn_local(async move {
                pass_on(output, index, &sender).await;
                // A closed channel means that the supervisor was dropped.
                let _ = sender.send(Heard::Ended(index, ended.await));
            });
            running.push(process);
        }
        Ok(Self { running, heard })
    }

    /// What is heard next; `None` when all programs have ended. May be dropped while waiting.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Asks all programs to end, kills those that have not after [`GRACE`], and tells `hear`
    /// what they still print.
    pub async fn stop(mut self, mut hear: impl FnMut(Heard)) {
        for process in &self.running {
            // One that has ended by itself needs no signal.
            let _ = process.terminate();
        }
        let rest = async {
            while let Some(heard) = self.heard.recv().await {
                hear(heard);
            }
        };
        if timeout(GRACE, rest).await.is_err() {
            self.running.clear();
            while let Some(heard) = self.next().await {
                hear(heard);
            }
        }
    }
}

async fn pass_on(pipe: impl AsyncRead + Unpin, index: usize, sender: &UnboundedSender<Heard>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    // By bytes: a program may print some that are not UTF-8.
    while pipe.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if sender.send(Heard::Line(index, text)).is_err() {
            return;
        }
    }
}
