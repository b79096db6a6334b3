//! Role `producer`: publishes messages, each until the broker has confirmed it.
//!
//! Settings: `BROKER_…`, see `settings.rs`; and the command line.

use std::time::Duration;

use anyhow::{Result, ensure};
use common::command_line::rate;
use common::shutdown;
use futures_lite::future::poll_once;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::Mutex;
use tokio::time::{Interval, interval};
use tokio_util::sync::CancellationToken;

use crate::message::{self, Message};
use crate::session;
use crate::settings::Broker;

/// How many messages may be on their way at once, sent and not confirmed yet.
const WINDOW: usize = 256;

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// How many messages to send; without it, until stopped
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Messages a second
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
}

/// What was sent so far, over all connections.
struct Work {
    /// How many there are to send.
    count: u64,
    ticks: Interval,
    /// Sent or about to be, and not confirmed.
    window: Vec<Message>,
    sent: u64,
    confirmed: u64,
}

/// Publishes until all is confirmed, or until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let broker = Broker::from_env()?;
    let work = Mutex::new(Work {
        count: settings.count.unwrap_or(u64::MAX),
        // What was due while the broker was away is made up for.
        ticks: interval(Duration::from_secs_f64(1.0 / settings.rate)),
        window: Vec::new(),
        sent: 0,
        confirmed: 0,
    });
    let publish = async |connection: &Connection| {
        // Of two sessions the first has ended: nobody else has it.
        let mut work = work.lock().await;
        work.publish(connection, &shutdown).await
    };
    let outcome = session::keep(&broker, &shutdown, publish).await;
    let work = work.into_inner();
    work.tell();
    outcome?;
    let missing = work.window.len();
    ensure!(missing == 0, "{missing} message(s) never confirmed");
    Ok(())
}

impl Work {
    /// Publishes one window after the other.
    async fn publish(
        &mut self,
        connection: &Connection,
        shutdown: &CancellationToken,
    ) -> Result<()> {
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        // What the last connection left unconfirmed comes first: the broker may have it, or not.
        while !self.window.is_empty() || self.fill(shutdown).await {
            self.send(&channel).await?;
        }
        Ok(())
    }

    /// Waits until a message is due, and takes it and all others that are into the window;
    /// false when there are no more to come.
    async fn fill(&mut self, shutdown: &CancellationToken) -> bool {
        if self.sent == self.count {
            return false;
        }
        if shutdown
            .run_until_cancelled(self.ticks.tick())
            .await
            .is_none()
        {
            return false;
        }
        self.make();
        while self.window.len() < WINDOW
            && self.sent < self.count
            && poll_once(self.ticks.tick()).await.is_some()
        {
            self.make();
        }
        true
    }

    fn make(&mut self) {
        self.sent += 1;
        self.window.push(Message::new(self.sent));
    }

    /// Sends the window, then awaits all its confirms; what a queue has leaves it. After an
    /// error in between the whole window stays: what came back by then is not known.
    async fn send(&mut self, channel: &Channel) -> Result<()> {
        let mut confirms = Vec::new();
        for message in &self.window {
            confirms.push(message.publish(channel).await?);
        }
        let mut confirmations = Vec::new();
        for confirm in confirms {
            confirmations.push(confirm.await?);
        }
        let before = self.window.len();
        let outcome = message::settle(&mut self.window, &confirmations);
        self.confirmed += (before - self.window.len()) as u64;
        self.tell();
        outcome
    }

    fn tell(&self) {
        log::info!("sent {}, confirmed {}", self.sent, self.confirmed);
    }
}
