//! Publishes the message of a person at the page, over a wiretap, as every service does.

use std::time::Duration;

use anyhow::{Context, Result};
use broker::Address;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, ErrorKind};
use tokio::time::timeout;
use uuid::Uuid;

/// How long the broker may take: it may be dead.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes, waits for the confirm, and says what became of the message.
///
/// # Errors
/// When the broker does not answer, or refuses.
pub async fn publish(
    (address, vhost): (&Address, &str),
    exchange: &str,
    key: &str,
    body: &str,
) -> Result<String> {
    let id = Uuid::new_v4().to_string();
    let work = async {
        let connection = broker::connect(&address.url(vhost), "you").await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let about = BasicProperties::default()
            .with_message_id(id.as_str().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        let sent = channel
            .basic_publish(exchange.into(), key.into(), options, body.as_bytes(), about)
            .await?;
        let confirmation = sent.await?;
        connection.close(200, "done".into()).await?;
        lapin::Result::Ok(confirmation)
    };
    let done = timeout(PATIENCE, work).await;
    let done = done.context("the broker has not confirmed your message within 5 s")?;
    let short: String = id.chars().take(8).collect();
    match done {
        Ok(Confirmation::Ack(None)) => Ok(format!("your message {short} is confirmed")),
        Ok(Confirmation::Ack(Some(_))) => Ok(format!(
            "your message {short} came back: no queue is bound for it"
        )),
        Ok(_) => Ok(format!(
            "the broker refused your message {short} (basic.nack)"
        )),
        Err(error) => Err(match error.kind() {
            ErrorKind::ProtocolError(refusal) => {
                anyhow::anyhow!("the broker refuses: {}", refusal.get_message())
            }
            _ => anyhow::Error::new(error).context("your message cannot be published"),
        }),
    }
}
