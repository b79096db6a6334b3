//! Publishes one message to a queue, as in chapter 02.

use anyhow::{Result, bail};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

/// Sends `body` to `queue` as a persistent message with these further `properties`. Await the
/// confirm as well: only then does the broker have it. See [`accepted`].
pub async fn send(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = properties.with_delivery_mode(2); // persistent: written to disk
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    Ok(sent.await?)
}

/// Whether a queue has the message, when no other was in flight on its channel. For several
/// in flight see [`messaging::settle`].
pub fn accepted(confirmation: Confirmation) -> Result<()> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => bail!("the message was returned: no queue takes it"),
        other => bail!("the broker did not confirm the message: {other:?}"),
    }
}
