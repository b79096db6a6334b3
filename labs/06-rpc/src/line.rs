//! The caller's end: a channel for the requests, and a place for the answers.

use std::time::Duration;

use anyhow::Result;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};

use crate::queue::{self, RPC_QUEUE};
use crate::request::DIRECT;

/// Where answers go.
#[derive(Clone, Copy)]
pub enum ReplyTo {
    /// A queue of the client's own.
    Queue,
    /// Straight to the channel that sent the request.
    Direct,
}

/// A channel for requests, and where their answers go. Clones share the channel.
#[derive(Clone)]
pub struct Line {
    channel: Channel,
    reply_to: ShortString,
}

impl Line {
    /// Opens one, with the stream of its answers.
    pub async fn open(connection: &Connection, reply_to: ReplyTo) -> Result<(Self, Consumer)> {
        let channel = connection.create_channel().await?;
        queue::declare(&channel).await?;
        let (reply_to, answers) = match reply_to {
            ReplyTo::Queue => reply_queue(&channel).await?,
            ReplyTo::Direct => direct(&channel).await?,
        };
        log::info!("reply queue `{reply_to}`");
        Ok((Self { channel, reply_to }, answers))
    }

    /// Asks for a user. The broker drops a request that has waited for longer than `expiration`.
    pub async fn send(
        &self,
        id: u32,
        correlation_id: &str,
        expiration: Option<Duration>,
    ) -> Result<()> {
        let (queue, body) = (RPC_QUEUE.into(), id.to_string());
        let properties = self.about(correlation_id);
        let properties = properties.with_content_type("text/plain".into());
        let properties = match expiration {
            // AMQP wants milliseconds, as text.
            Some(after) => properties.with_expiration(after.as_millis().to_string().into()),
            None => properties,
        };
        let options = BasicPublishOptions::default();
        // No confirm: only the answer counts.
        self.channel
            .basic_publish("".into(), queue, options, body.as_bytes(), properties)
            .await?;
        Ok(())
    }

    /// What a server must know to answer a request.
    fn about(&self, correlation_id: &str) -> BasicProperties {
        // HOLE 1: which call this is, and where its answer goes.
        todo!("HOLE 1: return the correlation id and the name of the reply queue, as properties")
        // END HOLE 1
    }
}

/// A queue for all answers to this client: its name, and its messages.
async fn reply_queue(channel: &Channel) -> Result<(ShortString, Consumer)> {
    // HOLE 2: a queue of our own, named by the broker; its answers need no ack.
    // Naive: all clients share one queue, and a client gets the answers of others.
    let (name, none) = (ShortString::from("rpc_answers"), FieldTable::default);
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.clone(), options, none()).await?;
    let options = BasicConsumeOptions::default();
    let answers = channel
        .basic_consume(name.clone(), "".into(), options, none())
        .await?;
    Ok((name, answers))
    // END HOLE 2
}

/// The same without a queue: the broker passes answers straight to the channel that asked.
async fn direct(channel: &Channel) -> Result<(ShortString, Consumer)> {
    // HOLE 8: optional: consume from DIRECT, which is no queue, instead.
    // Naive: it uses a reply queue all the same.
    reply_queue(channel).await
    // END HOLE 8
}
