//! Both ends of a call, as the checks play them.

use anyhow::Context;
use check::{Failure, Lab, Outcome, Response, Seen, Service, fail};
use futures_lite::{StreamExt, future};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The queue that requests go through.
pub const RPC_QUEUE: &str = "rpc_queue";

/// Those users that there are.
pub const USERS: [(u32, &str); 3] = [
    (1, "Ada Lovelace"),
    (10, "Grace Hopper"),
    (11, "Radia Perlman"),
];

/// A deadline, in milliseconds, that no answer misses, however busy the machine is; and less
/// than the check itself waits.
pub const PATIENT: &str = "5000";

/// A user client that can ask.
pub async fn client(lab: &Lab) -> Outcome<Service> {
    client_with(lab, "user-client", &[("RPC_TIMEOUT_MS", PATIENT)]).await
}

/// A user client of this name and with these settings, that can ask.
pub async fn client_with(lab: &Lab, name: &str, settings: &[(&str, &str)]) -> Outcome<Service> {
    let mut client = lab.instance(name, &["user-client"]).await?;
    for (name, value) in settings {
        client = client.with(name, value);
    }
    client.start().await?;
    client.says(": ready").await?;
    Ok(client)
}

/// A user service that stands at its queue, as the only one.
pub async fn server(lab: &Lab) -> Outcome<Service> {
    let server = lab.service("user-service").await?;
    server.launch().await?;
    lab.consumers(RPC_QUEUE, 1).await?;
    Ok(server)
}

/// A call over HTTP that is under way.
pub struct Call(JoinSet<Outcome<Response>>);

/// Asks for a user, and does not wait.
pub fn ask(client: &Service, id: u32) -> Call {
    let client = client.clone();
    let mut task = JoinSet::new();
    task.spawn_local(async move { client.get(&format!("/users/{id}")).await });
    Call(task)
}

impl Call {
    /// What the client answers.
    pub async fn answer(mut self) -> Outcome<Response> {
        let answer = self.0.join_next().await.context("no call")?;
        answer.context("the check cannot follow its own call")?
    }
}

/// Asks for a user, who must be this one.
pub async fn is_called(client: &Service, id: u32, name: &str) -> Outcome {
    let answer = ask(client, id).answer().await?;
    tells(client, &answer, id, name)
}

/// Holds an answer to be this user.
pub fn tells(client: &Service, answer: &Response, id: u32, name: &str) -> Outcome {
    let right = answer.status == 200 && answer.json() == json!({ "id": id, "name": name });
    fail(
        format!("GET /users/{id} answers 200 with the name {name}"),
        told(client, answer),
    )
    .because("whoever asks for one user must not be told of another, or of nobody")
    .unless(right)
}

/// Holds an answer to have this status.
pub fn has_status(client: &Service, answer: &Response, status: u16, why: &str) -> Outcome {
    fail(format!("an answer {status}"), told(client, answer))
        .because(why)
        .unless(answer.status == status)
}

/// An answer, with what the service logged last: why it is not the one that was expected.
pub fn told(service: &Service, answer: &Response) -> String {
    let words = service.last_words(1).join("");
    format!("{}; last in its log:\n{words}", answer.summary())
}

/// Waits until the client says that no call is under way.
pub async fn none_pending(lab: &Lab, client: &Service) -> Outcome {
    let why = "a call that is over and stays in the table stays there for ever";
    lab.eventually("no call is pending", why, async || {
        let answer = client.get("/pending").await?;
        let none = answer.json()["pending"] == json!(0);
        Ok(Seen::when(none, || answer.summary()))
    })
    .await
}

/// Waits until no request is waiting, or in a server's hand.
pub async fn drained(lab: &Lab) -> Outcome {
    let why = "what is not acked comes again, and what is never taken stands in the way";
    lab.eventually("no request is left over", why, async || {
        let left = lab.queue(RPC_QUEUE).await?;
        let left = left.map_or((0, 0), |queue| (queue.ready, queue.unacked));
        Ok(Seen::when(left == (0, 0), || {
            let (ready, unacked) = left;
            format!("{ready} waiting, {unacked} delivered and not acked")
        }))
    })
    .await
}

/// Does something, and waits until the service has logged another line after it.
pub async fn logs_a_line(
    lab: &Lab,
    service: &Service,
    of: &str,
    doing: impl Future<Output = Outcome>,
) -> Outcome {
    let lines = || service.output().lines().count();
    let before = lines();
    doing.await?;
    let expected = format!("the log of {} has a line about {of}", service.name());
    let why = "what is dropped in silence is missed by nobody, until it is too late";
    lab.eventually(&expected, why, async || {
        Ok(Seen::when(lines() > before, || "not a word".to_owned()))
    })
    .await
}

/// A party to calls that the check plays itself: it consumes from one queue, and may write
/// to any.
pub struct Party {
    lab: Lab,
    channel: Channel,
    letters: Consumer,
    _connection: Connection,
}

/// What came to a party.
#[derive(Debug, Clone)]
pub struct Letter {
    pub body: String,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
}

impl Letter {
    /// The body as JSON; null when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// A request that can be answered.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: u32,
    pub correlation_id: String,
    pub reply_to: String,
}

impl Party {
    /// The server: it stands at [`RPC_QUEUE`].
    pub async fn server(lab: &Lab) -> Outcome<Self> {
        Self::at(lab, RPC_QUEUE, QueueDeclareOptions::durable()).await
    }

    /// A client, with a reply queue of this name.
    pub async fn client(lab: &Lab, queue: &str) -> Outcome<Self> {
        Self::at(lab, queue, QueueDeclareOptions::exclusive()).await
    }

    async fn at(lab: &Lab, queue: &str, options: QueueDeclareOptions) -> Outcome<Self> {
        let connection = lab.connect().await?;
        let made = async {
            let channel = connection.create_channel().await?;
            let none = FieldTable::default;
            channel.queue_declare(queue.into(), options, none()).await?;
            let options = BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            let letters = channel.basic_consume(queue.into(), "".into(), options, none());
            Ok::<_, lapin::Error>((letters.await?, channel))
        };
        let (letters, channel) = made.await.context("the check cannot stand at a queue")?;
        lab.journal().note(format!("stands at queue `{queue}`"));
        Ok(Self {
            lab: lab.clone(),
            channel,
            letters,
            _connection: connection,
        })
    }

    /// What comes next; `missing` is the failure when nothing does.
    pub async fn next(&mut self, missing: Failure) -> Outcome<Letter> {
        let (letters, expected) = (&mut self.letters, missing.expected);
        let came = self.lab.eventually(&expected, &missing.why, async || {
            let next = future::poll_once(letters.next()).await;
            let Some(next) = next else {
                return Ok(Seen::NotYet(missing.observed.clone()));
            };
            let delivery = next.context("the check's own subscription ended")?;
            Ok(Seen::Yes(
                delivery.context("the check's own channel closed")?,
            ))
        });
        let delivery = came.await?;
        let about = &delivery.properties;
        let text = |field: &Option<ShortString>| field.as_ref().map(ToString::to_string);
        Ok(Letter {
            body: String::from_utf8_lossy(&delivery.data).into_owned(),
            correlation_id: text(about.correlation_id()),
            reply_to: text(about.reply_to()),
        })
    }

    /// The next request.
    pub async fn request(&mut self) -> Outcome<Request> {
        let missing = fail("a request comes to `rpc_queue`", "none came")
            .because("a question that is not sent is not answered");
        let letter = self.next(missing).await?;
        let expected = "a request: the id as text, a correlation_id and a reply_to";
        let bad = fail(expected, format!("{letter:?}"))
            .because("the server must know what is asked, whom to answer, and which call it is for")
            .hole(2);
        let (id, parts) = (
            letter.body.parse(),
            (letter.correlation_id, letter.reply_to),
        );
        match (id, parts) {
            (Ok(id), (Some(correlation_id), Some(reply_to))) => Ok(Request {
                id,
                correlation_id,
                reply_to,
            }),
            _ => Err(bad.into()),
        }
    }

    /// Answers a request with a name.
    pub async fn answer(&self, request: &Request, name: &str) -> Outcome {
        let body = json!({ "name": name }).to_string();
        let id = Some(request.correlation_id.as_str());
        self.send(&request.reply_to, id, None, &body).await
    }

    /// Writes to a queue.
    pub async fn send(
        &self,
        queue: &str,
        correlation_id: Option<&str>,
        reply_to: Option<&str>,
        body: impl AsRef<[u8]>,
    ) -> Outcome {
        let mut about = BasicProperties::default();
        if let Some(id) = correlation_id {
            about = about.with_correlation_id(id.into());
        }
        if let Some(queue) = reply_to {
            about = about.with_reply_to(queue.into());
        }
        let (body, options) = (body.as_ref(), BasicPublishOptions::default());
        let text = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let id = correlation_id.unwrap_or("none");
        self.lab.journal().note(format!(
            "publishes to `{queue}`, correlation_id {id}: {text}"
        ));
        let sent = self
            .channel
            .basic_publish("".into(), queue.into(), options, body, about);
        sent.await.context("the check cannot publish")?;
        Ok(())
    }
}
