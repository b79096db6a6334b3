//! Role `producer`: publishes messages, each until the broker has confirmed it.
//!
//! Settings: `BROKER_…`, see `settings.rs`; and the command line.

use std::time::Duration;

use anyhow::{Result, ensure};
use common::command_line::rate;
use common::shutdown;
use futures_lite::future::poll_once;
use futures_util::future::try_join_all;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::time::{Interval, interval};
use tokio_util::sync::CancellationToken;

use crate::message::Message;
use crate::session;
use crate::settings::Broker;

/// How many messages may be in flight, sent and not confirmed yet.
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

/// The progress over all connections.
struct Work {
    /// How many messages to send.
    count: u64,
    ticks: Interval,
    /// Taken for sending, and not confirmed yet.
    window: Vec<Message>,
    sent: u64,
    confirmed: u64,
}

/// Publishes until all is confirmed, or until SIGTERM.
pub async fn run(settings: Settings) -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let broker = Broker::from_env()?;
    let mut work = Work {
        count: settings.count.unwrap_or(u64::MAX),
        // It makes up for messages that were due while the broker was away.
        ticks: interval(Duration::from_secs_f64(1.0 / settings.rate)),
        window: Vec::new(),
        sent: 0,
        confirmed: 0,
    };
    let publish = async |connection: &Connection| work.publish(connection, &shutdown).await;
    let outcome = session::keep(&broker, &shutdown, publish).await;
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
        // First the messages that the last connection left unconfirmed: the broker may have them.
        while !self.window.is_empty() || self.fill(shutdown).await {
            self.send(&channel).await?;
        }
        Ok(())
    }

    /// Waits until a message is due, and takes all that are due into the window; false when no
    /// message will come.
    async fn fill(&mut self, shutdown: &CancellationToken) -> bool {
        if self.sent == self.count {
            return false;
        }
        let due = shutdown.run_until_cancelled(self.ticks.tick()).await;
        if due.is_none() {
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

    /// Sends the window, then awaits all its confirms. The messages that a queue has leave it.
    /// After an error in between the whole window stays: returned messages are not known yet.
    async fn send(&mut self, channel: &Channel) -> Result<()> {
        let publishes = self.window.iter().map(|message| message.publish(channel));
        // All are polled before one is awaited: lapin writes them together.
        let confirms = try_join_all(publishes).await?;
        let confirmations = try_join_all(confirms).await?;
        let before = self.window.len();
        let outcome = messaging::settle(&mut self.window, |message| &message.id, &confirmations);
        self.confirmed += (before - self.window.len()) as u64;
        self.tell();
        outcome
    }

    fn tell(&self) {
        log::info!("sent {}, confirmed {}", self.sent, self.confirmed);
    }
}
