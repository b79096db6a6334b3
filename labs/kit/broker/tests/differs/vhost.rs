//! A vhost for one row, and what several rows do there.

use anyhow::Result;
use broker::Broker;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ErrorKind};

use super::paths;

/// A vhost for one row.
pub struct TestVhost {
    pub broker: Broker,
    pub vhost: &'static str,
}

impl TestVhost {
    pub async fn new(vhost: &'static str) -> Result<Self> {
        let broker = Broker::acquire(&paths(), &|line| println!("{line}")).await?;
        broker.delete_vhost(vhost).await?;
        broker.create_vhost(vhost).await?;
        Ok(Self { broker, vhost })
    }

    /// A channel in confirm mode, on a new connection.
    pub async fn channel(&self) -> Result<(Connection, Channel)> {
        let url = self.broker.address.url(self.vhost);
        let connection = broker::connect(&url, "test").await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok((connection, channel))
    }
}

pub async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, &str)]) -> Result<()> {
    let mut table = FieldTable::default();
    for (key, text) in arguments {
        let value = match text.parse() {
            Ok(number) => AMQPValue::LongInt(number),
            Err(_) => AMQPValue::LongString((*text).into()),
        };
        table.insert((*key).into(), value);
    }
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.into(), durable, table).await?;
    Ok(())
}

pub async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<(), lapin::Error> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    match sent.await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => panic!("not taken by `{queue}`: {other:?}"),
    }
}

pub async fn get(channel: &Channel, queue: &str) -> Result<Option<BasicGetMessage>> {
    let options = BasicGetOptions::default();
    Ok(channel.basic_get(queue.into(), options).await?)
}

/// Waits for the next message of `queue`.
pub async fn next(channel: &Channel, queue: &str) -> Result<BasicGetMessage> {
    loop {
        if let Some(message) = get(channel, queue).await? {
            return Ok(message);
        }
    }
}

/// The broker's reply code, if the error is an answer of the broker.
pub fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}
