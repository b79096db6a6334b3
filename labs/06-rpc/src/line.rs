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

    /// Asks for a user. After `deadline` the broker may drop the request.
    pub async fn send(&self, id: u32, correlation_id: &str, deadline: Duration) -> Result<()> {
        let Self { channel, reply_to } = self;
        let body = id.to_string();
        // HOLE 2: publish it to RPC_QUEUE, with all that the server and the broker must know.
        todo!("HOLE 2: publish the request, with all that the server and the broker must know")
        // END HOLE 2
    }
}

/// A queue for all answers to this client: its name, and its messages.
async fn reply_queue(channel: &Channel) -> Result<(ShortString, Consumer)> {
    // HOLE 1: declare a queue of our own, named by the broker, and consume from it.
    todo!("HOLE 1: declare a reply queue, and consume from it")
    // END HOLE 1
}

/// The same without a queue: the broker passes answers straight to the channel that asked.
async fn direct(channel: &Channel) -> Result<(ShortString, Consumer)> {
    // HOLE 8: optional: consume from DIRECT, which is no queue, instead.
    // Naive: it uses a reply queue all the same.
    reply_queue(channel).await
    // END HOLE 8
}
