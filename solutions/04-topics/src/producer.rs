//! Role `producer`: sends messages, each under a routing key that says what it is about.
//!
//! Settings: `AMQP_URL`, the broker; `CONFIRM_TIMEOUT_MS`, how long it may take to confirm a
//! message (default 5000); `ALTERNATE_EXCHANGE`, see [`topics`]; and the command line.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::command_line::rate;
use common::{logging, settings, shutdown};
use lapin::Channel;
use lapin::types::ShortString;
use messaging::{Outlet, Published, hopeless};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::message::Message;
use crate::publish::publish;
use crate::{key, mail_shot, place, topics};

/// How long the broker may take to confirm a message, connecting included, if
/// `CONFIRM_TIMEOUT_MS` is not set.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(300);

/// The keys of the log lines, in turn.
const LEVELS: [&str; 4] = ["log.debug", "log.info", "log.warning", "log.critical"];

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// Send a message under each of these keys; without any, send log lines
    #[arg(value_name = "KEY", value_parser = key::parse)]
    keys: Vec<ShortString>,
    /// Send a message to each customer, under the key of the postcode
    #[arg(long, conflicts_with = "keys")]
    mail_shot: bool,
    /// What the messages say
    #[arg(long, default_value = "hello")]
    text: String,
    /// How many log lines to send; without it, until stopped
    #[arg(long, value_name = "N", conflicts_with_all = ["keys", "mail_shot"])]
    count: Option<usize>,
    /// Log lines a second
    #[arg(long, value_name = "R", default_value_t = 1.0, value_parser = rate)]
    rate: f64,
}

/// A producer, with all that it needs to send a message.
struct Producer {
    url: String,
    outlet: Outlet,
    patience: Duration,
    alternate: Option<String>,
    shutdown: CancellationToken,
}

/// Sends what the command line says.
pub async fn run(settings: Settings) -> Result<()> {
    let url = settings::amqp_url()?;
    let producer = Producer {
        outlet: Outlet::new(&url),
        url,
        patience: settings::millis("CONFIRM_TIMEOUT_MS", PATIENCE)?,
        alternate: topics::alternate(),
        shutdown: shutdown::on_signal()?,
    };
    let text = settings.text;
    if settings.mail_shot {
        producer.send_all(mail_shot::to_all(&text)).await
    } else if settings.keys.is_empty() {
        let count = settings.count.unwrap_or(usize::MAX);
        producer.send_log(count, settings.rate, &text).await
    } else {
        let keys = settings.keys.into_iter();
        let messages = keys.map(|key| Message::new(key, &text)).collect();
        producer.send_all(messages).await
    }
}

impl Producer {
    /// Sends messages that must reach a queue. When one does not, that is an error.
    async fn send_all(&self, messages: Vec<Message>) -> Result<()> {
        let all = messages.len();
        let mut unroutable = 0;
        for message in messages {
            let outcome = self.deliver(&message).await?;
            // HOLE 5: count and log a message that the broker returned; the others are still sent.
            if outcome == Published::Returned {
                unroutable += 1;
                log::error!("no queue takes a message with key `{}`", message.key);
            }
            // END HOLE 5
        }
        ensure!(
            unroutable == 0,
            "{unroutable} of {all} message(s) reached no queue"
        );
        log::info!("{all} message(s) sent");
        Ok(())
    }

    /// Sends log lines until SIGTERM. An unrouted log line is not an error.
    async fn send_log(&self, count: usize, rate: f64, text: &str) -> Result<()> {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
        for (key, number) in LEVELS.iter().cycle().zip(1..=count) {
            self.shutdown.run_until_cancelled(ticks.tick()).await;
            if self.shutdown.is_cancelled() {
                break;
            }
            let message = Message::new((*key).into(), format!("{number} {text}"));
            match self.deliver(&message).await? {
                Published::Routed => log::info!("{key}: {number} {text}"),
                Published::Returned => log::info!("{key}: {number} {text} (no queue takes it)"),
            }
        }
        Ok(())
    }

    /// Sends `message` until the broker confirms or returns it. A message whose confirm is lost
    /// is sent twice, with the same id.
    async fn deliver(&self, message: &Message) -> Result<Published> {
        loop {
            let sent = timeout(self.patience, self.send(message)).await;
            match sent.context("the broker takes too long").flatten() {
                Ok(outcome) => return Ok(outcome),
                Err(error) if hopeless(&error) || self.shutdown.is_cancelled() => {
                    return Err(error.context(place::of(&self.url)));
                }
                Err(error) => {
                    let why = logging::causes(&error);
                    log::warn!("message {}: {why}; sending it again", message.id);
                }
            }
            self.outlet.renew().await;
            self.shutdown.run_until_cancelled(sleep(PAUSE)).await;
        }
    }

    /// One attempt.
    async fn send(&self, message: &Message) -> Result<Published> {
        let alternate = self.alternate.as_deref();
        let declare = async |channel: &Channel| topics::declare(channel, alternate).await;
        // SIGTERM ends the wait for a connection: without one there is nothing to finish.
        let channel = tokio::select! {
            biased;
            channel = self.outlet.prepared(declare) => channel?,
            () = self.shutdown.cancelled() => anyhow::bail!("told to stop"),
        };
        publish(&channel, message).await
    }
}
