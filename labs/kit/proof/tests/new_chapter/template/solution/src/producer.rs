//! Role `producer`: publishes greetings, and ends when each is confirmed.
//!
//! Settings: `AMQP_URL`, the broker; and the command line.

use anyhow::{Result, bail};
use common::settings;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};
use messaging::Outlet;
use uuid::Uuid;

use crate::queue::{self, GREETINGS};

/// The command line.
#[derive(clap::Args)]
pub struct Settings {
    /// How many greetings
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
}

/// Publishes one greeting after the other.
pub async fn run(settings: Settings) -> Result<()> {
    let outlet = Outlet::new(settings::amqp_url()?);
    let channel = outlet.prepared(queue::declare).await?;
    for number in 1..=settings.count {
        publish(&channel, &format!("greeting {number}")).await?;
        log::info!("greeting {number} confirmed");
    }
    Ok(())
}

/// Publishes a greeting under an id of its own. The channel is in confirm mode.
async fn publish(channel: &Channel, text: &str) -> Result<()> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_message_id(Uuid::new_v4().to_string().into())
        .with_delivery_mode(2); // persistent
    // HOLE 1: publish the greeting, and wait for the broker's confirm.
    let confirmation = channel
        .basic_publish(
            "".into(),
            GREETINGS.into(),
            options,
            text.as_bytes(),
            properties,
        )
        .await? // sent
        .await?; // confirmed
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("`{text}` is not in the queue: {other:?}"),
    }
    // END HOLE 1
}
