//! The other end of a call, played by the check itself.

use anyhow::Context;
use check::{Failure, Lab, Outcome, Seen, fail};
use futures_lite::{StreamExt, future};
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use serde_json::{Value, json};

use super::calls::RPC_QUEUE;

/// A client or server that the check plays: it consumes from one queue, and can publish to any.
pub struct Peer {
    lab: Lab,
    channel: Channel,
    deliveries: Consumer,
    _connection: Connection,
}

/// A message that was delivered to a peer.
#[derive(Debug, Clone)]
pub struct Message {
    pub body: String,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
}

/// A request that can be answered.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: u32,
    pub correlation_id: String,
    pub reply_to: String,
}

impl Message {
    fn read(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let text = |field: &Option<ShortString>| field.as_ref().map(ToString::to_string);
        Self {
            body: String::from_utf8_lossy(&delivery.data).into_owned(),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
        }
    }

    /// The body as JSON; null when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// This message as a request, if the server has all that it needs.
    fn request(self) -> Option<Request> {
        Some(Request {
            id: self.body.parse().ok()?,
            correlation_id: self.correlation_id?,
            reply_to: self.reply_to?,
        })
    }
}

impl Peer {
    /// A server: it consumes from [`RPC_QUEUE`].
    pub async fn server(lab: &Lab) -> Outcome<Self> {
        Self::at(lab, RPC_QUEUE, QueueDeclareOptions::durable()).await
    }

    /// A client with a reply queue of this name.
    pub async fn client(lab: &Lab, queue: &str) -> Outcome<Self> {
        Self::at(lab, queue, QueueDeclareOptions::exclusive()).await
    }

    async fn at(lab: &Lab, queue: &str, options: QueueDeclareOptions) -> Outcome<Self> {
        let connection = lab.connect().await?;
        let consuming = consume(&connection, queue, options).await;
        let (channel, deliveries) =
            consuming.with_context(|| format!("the check cannot consume from `{queue}`"))?;
        lab.journal().note(format!("consumes from queue `{queue}`"));
        Ok(Self {
            lab: lab.clone(),
            channel,
            deliveries,
            _connection: connection,
        })
    }

    /// The next message; `missing` is the failure when none comes.
    pub async fn next(&mut self, missing: Failure) -> Outcome<Message> {
        let (lab, deliveries) = (&self.lab, &mut self.deliveries);
        let delivery = lab.eventually(&missing.expected, &missing.why, async || {
            let Some(next) = future::poll_once(deliveries.next()).await else {
                return Ok(Seen::NotYet(missing.observed.clone()));
            };
            let delivery = next.context("the check's own subscription ended")?;
            Ok(Seen::Yes(
                delivery.context("the check's own channel closed")?,
            ))
        });
        Ok(Message::read(&delivery.await?))
    }

    /// The next request.
    pub async fn request(&mut self) -> Outcome<Request> {
        let missing = fail("a request arrives at `rpc_queue`", "no request arrived")
            .because("the server can only answer a request that was sent");
        let message = self.next(missing).await?;
        let expected = "a request: the id as text, a correlation_id and a reply_to";
        let incomplete = fail(expected, format!("{message:?}"))
            .because("the server needs to know what is asked, where to answer, and for which call")
            .hole(1);
        Ok(message.request().ok_or(incomplete)?)
    }

    /// Answers a request with a name.
    pub async fn answer(&self, request: &Request, name: &str) -> Outcome {
        let body = json!({ "name": name }).to_string();
        let id = Some(request.correlation_id.as_str());
        self.send(&request.reply_to, id, None, &body).await
    }

    /// Publishes a message to a queue.
    pub async fn send(
        &self,
        queue: &str,
        correlation_id: Option<&str>,
        reply_to: Option<&str>,
        body: impl AsRef<[u8]>,
    ) -> Outcome {
        let body = body.as_ref();
        let id = correlation_id.unwrap_or("none");
        let text = String::from_utf8_lossy(&body[..body.len().min(60)]);
        let note = format!("publishes to `{queue}`, correlation_id {id}: {text}");
        self.lab.journal().note(note);
        let (options, properties) = (
            BasicPublishOptions::default(),
            properties(correlation_id, reply_to),
        );
        let sent = self
            .channel
            .basic_publish("".into(), queue.into(), options, body, properties);
        sent.await.context("the check cannot publish")?;
        Ok(())
    }
}

async fn consume(
    connection: &Connection,
    queue: &str,
    options: QueueDeclareOptions,
) -> lapin::Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    let none = FieldTable::default;
    channel.queue_declare(queue.into(), options, none()).await?;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let deliveries = channel
        .basic_consume(queue.into(), "".into(), options, none())
        .await?;
    Ok((channel, deliveries))
}

fn properties(correlation_id: Option<&str>, reply_to: Option<&str>) -> BasicProperties {
    let mut properties = BasicProperties::default();
    if let Some(id) = correlation_id {
        properties = properties.with_correlation_id(id.into());
    }
    if let Some(queue) = reply_to {
        properties = properties.with_reply_to(queue.into());
    }
    properties
}
