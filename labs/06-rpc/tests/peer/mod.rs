//! The other end of a call, played by the check itself.

use std::fmt;

use anyhow::Context;
use check::{Failure, Lab, Outcome, Seen, Stop, fail};
use futures_lite::{StreamExt, future};
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer, ErrorKind};
use serde_json::{Value, json};

use super::calls::RPC_QUEUE;

/// A client or server that the check plays: it consumes from one queue, and can publish to any.
pub struct Peer {
    lab: Lab,
    channel: Channel,
    deliveries: Consumer,
    connection: Connection,
}

/// A message that was delivered to a peer.
#[derive(Debug, Clone)]
pub struct Message {
    pub body: String,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    expiration: Option<String>,
}

/// A request that can be answered.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: u32,
    pub correlation_id: String,
    pub reply_to: String,
    pub expiration: Option<String>,
}

/// For a person to read.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |field: &Option<String>| match field {
            Some(text) => format!("`{text}`"),
            None => "none".to_owned(),
        };
        let [id, queue] = [&self.correlation_id, &self.reply_to].map(or_none);
        write!(
            f,
            "the body `{}`, correlation_id {id}, reply_to {queue}",
            self.body
        )
    }
}

impl Message {
    fn read(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let text = |field: &Option<ShortString>| field.as_ref().map(ToString::to_string);
        Self {
            body: String::from_utf8_lossy(&delivery.data).into_owned(),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
            expiration: text(properties.expiration()),
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
            expiration: self.expiration,
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

    /// Consumes no more.
    pub async fn leave(self) -> Outcome {
        let closed = self.connection.close(200, "done".into()).await;
        Ok(closed.context("the check cannot close its connection")?)
    }

    async fn at(lab: &Lab, queue: &str, options: QueueDeclareOptions) -> Outcome<Self> {
        let connection = lab.connect().await?;
        let consuming = consume(&connection, queue, options).await;
        let (channel, deliveries) = consuming.map_err(|error| refused(queue, error))?;
        lab.journal().note(format!("consumes from queue `{queue}`"));
        Ok(Self {
            lab: lab.clone(),
            channel,
            deliveries,
            connection,
        })
    }

    /// The next message; `missing` is the failure when none comes.
    pub async fn next(&mut self, missing: Failure) -> Outcome<Message> {
        let lab = self.lab.clone();
        lab.eventually(&missing.expected, &missing.why, async || {
            Ok(match self.arrived().await? {
                Some(message) => Seen::Yes(message),
                None => match missing.hole {
                    Some(hole) => Seen::NotYetFor(hole, missing.observed.clone()),
                    None => Seen::NotYet(missing.observed.clone()),
                },
            })
        })
        .await
    }

    /// The message that is there now, if there is one.
    pub async fn arrived(&mut self) -> Outcome<Option<Message>> {
        let Some(next) = future::poll_once(self.deliveries.next()).await else {
            return Ok(None);
        };
        let delivery = next.context("the check's own subscription ended")?;
        let delivery = delivery.context("the check's own channel closed")?;
        Ok(Some(Message::read(&delivery)))
    }

    /// The next request.
    pub async fn request(&mut self) -> Outcome<Request> {
        let missing = fail("a request arrives at `rpc_queue`", "no request arrived")
            .because("the server can only answer a request that was sent");
        readable(self.next(missing).await?)
    }

    /// The next `count` requests, of calls that all wait for their answers.
    pub async fn requests(&mut self, count: usize) -> Outcome<Vec<Request>> {
        let mut requests = vec![self.request().await?];
        let expected = format!("{count} calls are in progress at once");
        let why = "one slow answer must not delay other calls: block no thread, and hold no lock \
                   while a call waits";
        let lab = self.lab.clone();
        lab.eventually(&expected, why, async || {
            while let Some(message) = self.arrived().await? {
                requests.push(readable(message)?);
            }
            let arrived = requests.len();
            let observed = || format!("{arrived} of {count} requests sent before an answer");
            Ok(Seen::when(arrived >= count, observed).hole(5))
        })
        .await?;
        Ok(requests)
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

/// A message as a request, if it is one.
fn readable(message: Message) -> Outcome<Request> {
    let expected = "a request: the id as text, a correlation_id and a reply_to";
    let incomplete = fail(expected, &message)
        .because("the server needs to know what is asked, where to answer, and for which call")
        .hole(1);
    Ok(message.request().ok_or(incomplete)?)
}

/// Why the check cannot consume from a queue: because of what the program declared, or trouble
/// of the lab's own.
fn refused(queue: &str, error: lapin::Error) -> Stop {
    let ErrorKind::ProtocolError(said) = error.kind() else {
        let error = anyhow::Error::from(error);
        return error
            .context(format!("the check cannot consume from `{queue}`"))
            .into();
    };
    let expected = format!("another program can declare `{queue}` and consume from it");
    let why = "a service in any language declares the queue as the contract says: durable, and \
               without arguments";
    fail(expected, said.get_message()).because(why).into()
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
