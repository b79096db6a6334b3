//! One message on its way to a queue, as chapter 02 did it.

use anyhow::{Result, bail};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};

/// Sends `body` to `queue` as a persistent message with these further `properties`. The
/// broker has it only when what this returns was awaited as well; see [`accepted`].
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

/// Whether the broker's word means that a queue has the message.
pub fn accepted(word: Confirmation) -> Result<()> {
    match word {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => bail!("the message came back: no queue takes it"),
        other => bail!("the broker did not take the message: {other:?}"),
    }
}
