//! Publishes one message and waits until the broker has it, as chapter 02 does.

use anyhow::{Result, bail};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};

/// What the broker did with a confirmed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// At least one queue has it.
    Routed,
    /// No queue takes it: the broker returned it.
    Returned,
}

/// Publishes a mandatory message to `exchange` with the routing key `key`, and waits for the confirm.
/// The channel must be in confirm mode. Have one publish in flight on it at a time: on a shared channel
/// lapin 4.12.3 may put a returned message into the confirm of another publish.
///
/// # Errors
/// When the broker does not confirm it. The message may have arrived, or not: send it again under the
/// same id.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: impl Into<ShortString>,
    body: &[u8],
    properties: BasicProperties,
) -> Result<Published> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirmation = channel
        .basic_publish(exchange.into(), key.into(), options, body, properties)
        .await? // sent
        .await?; // confirmed
    match confirmation {
        Confirmation::Ack(None) => Ok(Published::Routed),
        Confirmation::Ack(Some(_)) => Ok(Published::Returned),
        other => bail!("the broker did not confirm the message: {other:?}"),
    }
}
