//! Trying what a user of the broker may not do.

use anyhow::{Context, Result};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind};

use super::stage::QUEUE;

/// As AMQP says "access refused".
const REFUSED: u16 = 403;

async fn channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.context("cannot log in")?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Whether consuming from the queue is refused.
///
/// # Errors
/// When it cannot be tried.
pub async fn consume(url: &str) -> Result<bool> {
    let (connection, channel) = channel(url).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default());
    let refused = refused(consumer.await.map(drop))?;
    connection.close(200, "done".into()).await?;
    Ok(refused)
}

/// Whether publishing to the exchange is refused.
///
/// # Errors
/// When it cannot be tried.
pub async fn publish(url: &str) -> Result<bool> {
    let (connection, channel) = channel(url).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(
        QUEUE.into(),
        QUEUE.into(),
        options,
        b"forbidden",
        BasicProperties::default(),
    );
    let confirmed = match sent.await {
        Ok(confirm) => confirm.await.map(drop),
        Err(error) => Err(error),
    };
    let refused = refused(confirmed)?;
    connection.close(200, "done".into()).await?;
    Ok(refused)
}

fn refused(done: lapin::Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(false),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == REFUSED => Ok(true),
            _ => Err(error).context("not refused, and not done either"),
        },
    }
}
