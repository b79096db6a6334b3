//! The checks of logins and permissions: a wrong password, and users that may do no more than
//! their program needs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ErrorKind};
use process::Exit;
use tokio::time::sleep;

use super::HostChecks;
use crate::testbed::{ChangedSettings, HostTestbed, ProgramEnd, Role, SOON, unexpected};

/// AMQP's code for access refused.
const REFUSED: u16 = 403;
/// How long no second login may come. The consumer's longest pause between logins is 2 s.
const NO_LOGIN: Duration = Duration::from_secs(4);

impl<T: HostTestbed> HostChecks<T> {
    /// The consumer has a wrong password.
    pub async fn wrong_password(&self) -> Result<()> {
        self.broker().await?;
        let testbed = &*self.testbed;
        // RabbitMQ 4.3 logs a second line for each refusal, without these words.
        let refusals = |log: &str| log.matches("login refused:").count();
        let before = refusals(&testbed.broker_log().await?);
        let changed = ChangedSettings {
            password: Some("wrong"),
            ..ChangedSettings::default()
        };
        testbed.start_changed(changed).await?;
        let end = self.wait_for_end().await?;
        if end == ProgramEnd::Exit(Exit::Code(0)) {
            return Err(unexpected("an exit code that is not 0", end));
        }
        sleep(NO_LOGIN).await;
        match refusals(&testbed.broker_log().await?) - before {
            1 => Ok(()),
            logins => Err(unexpected(
                "one refused login in the broker's log",
                format!("{logins} refused logins"),
            )),
        }
    }

    async fn wait_for_end(&self) -> Result<ProgramEnd> {
        let begun = Instant::now();
        loop {
            if let Some(end) = self.testbed.unasked_end(Role::Consumer).await? {
                return Ok(end);
            }
            if begun.elapsed() > SOON {
                let observed = format!("it still runs after {} s", SOON.as_secs());
                return Err(unexpected("the consumer ends with an error", observed));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Each program's user tries what only the other one may do.
    pub async fn least_privilege(&self) -> Result<()> {
        let broker = self.broker().await?;
        let queue = &self.testbed.lecture().queue;
        for role in Role::ALL {
            let address = broker.address.of(self.testbed.login(role));
            let url = address.url(self.testbed.vhost());
            let (does, tried) = match role {
                Role::Producer => ("consumes", is_refused_to_consume(&url, queue).await),
                Role::Consumer => ("publishes", is_refused_to_publish(&url, queue).await),
            };
            let user = &address.user;
            if !tried.with_context(|| format!("as user {user}"))? {
                return Err(unexpected(
                    format!("the broker refuses it when user {user} {does}"),
                    "it did not",
                ));
            }
        }
        Ok(())
    }
}

async fn open_channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = broker::connect(url, "lecture").await;
    let connection = connection.context("cannot log in")?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Tries to consume from the queue; true when the broker refuses.
async fn is_refused_to_consume(url: &str, queue: &str) -> Result<bool> {
    let (connection, channel) = open_channel(url).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let refused = is_refused(consumer.await.map(drop))?;
    connection.close(200, "done".into()).await?;
    Ok(refused)
}

/// Tries to publish to the queue's exchange; true when the broker refuses.
async fn is_refused_to_publish(url: &str, queue: &str) -> Result<bool> {
    let (connection, channel) = open_channel(url).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(
        queue.into(),
        queue.into(),
        options,
        b"forbidden",
        BasicProperties::default(),
    );
    let confirmed = match sent.await {
        Ok(confirm) => confirm.await.map(drop),
        Err(error) => Err(error),
    };
    let refused = is_refused(confirmed)?;
    connection.close(200, "done".into()).await?;
    Ok(refused)
}

/// Whether AMQP's code for access refused was the answer.
fn is_refused(done: lapin::Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(false),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == REFUSED => Ok(true),
            _ => Err(error).context("the broker neither allowed nor refused it"),
        },
    }
}
