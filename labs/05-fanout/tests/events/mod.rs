//! The services and what they tell each other, as the checks use them.

use std::ops::Deref;

use anyhow::Context;
use check::Exit;
use check::wiretap::Method;
use check::{Lab, Outcome, Response, Seen, Service, Stop, fail};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

/// The exchange to which `video-streaming` publishes.
pub const VIEWED: &str = "viewed";
/// The exchange to which `shop` publishes.
pub const SALES: &str = "sales";

/// Why a queue that two services share is wrong.
pub const SHARED: &str = "who shares a queue shares its messages; who is to get each has its own";

/// An instance of a service that consumes.
pub struct Listener {
    service: Service,
    role: String,
    table: &'static str,
}

impl Deref for Listener {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

/// An instance of a service, not started yet. All instances of a service share a database.
pub async fn instance(lab: &Lab, name: &str, role: &str) -> Outcome<Listener> {
    let shared = lab.dir().join(format!("{role}.sqlite"));
    let service = lab.instance(name, &[role]).await?;
    let table = match role {
        "history" => "views",
        "recommendations" => "seen",
        "finance" => "bookings",
        _ => "payments",
    };
    Ok(Listener {
        service: service.with("DATABASE", shared.display()),
        role: role.to_owned(),
        table,
    })
}

/// The one instance of a service, started and consuming.
pub async fn listening(lab: &Lab, role: &str) -> Outcome<Listener> {
    let listener = instance(lab, role, role).await?;
    listener.listen(lab).await?;
    Ok(listener)
}

/// Two services, started side by side and consuming.
pub async fn both(lab: &Lab, roles: [&str; 2]) -> Outcome<[Listener; 2]> {
    let (one, other) = tokio::join!(listening(lab, roles[0]), listening(lab, roles[1]));
    Ok([one?, other?])
}

impl Listener {
    /// Starts it, and waits until it consumes from a queue.
    pub async fn listen(&self, lab: &Lab) -> Outcome {
        let name = self.name();
        let consuming = || lab.journal().methods(&name, Method::BasicConsumeOk).len();
        let before = consuming();
        self.start().await?;
        let expected = format!("{name} consumes from a queue");
        let why = "an exchange keeps nothing: what a service wants is kept in a queue";
        lab.eventually(&expected, why, async || {
            let queues = lab.journal().methods(&name, Method::QueueDeclare);
            fail(
                format!("{name} has a queue that outlives its connection"),
                "it is declared as exclusive (queue.declare)",
            )
            .because("an exclusive queue is for one connection, and is gone with all it holds")
            .hole(3)
            .unless(!queues.iter().any(|frame| frame.flag("exclusive")))?;
            Ok(Seen::when(consuming() > before, || {
                "it does not, so far".to_owned()
            }))
        })
        .await
    }

    /// The same with little patience for a locked database, from its next start on.
    pub fn impatient(self) -> Self {
        let service = self.service.clone().with("DATABASE_TIMEOUT_MS", 300);
        Self { service, ..self }
    }

    /// The queue from which it consumes.
    pub fn queue(&self, lab: &Lab) -> Outcome<String> {
        let consumes = lab.journal().methods(&self.name(), Method::BasicConsume);
        let queue = consumes.last().and_then(|f| f.args["queue"].as_str());
        let queue = queue.context("a service was asked for its queue before it had one")?;
        Ok(queue.to_owned())
    }

    /// The ids under which it has recorded something, in order.
    pub fn ids(&self) -> Outcome<Vec<String>> {
        let rows = self.rows(self.table)?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// What it has recorded, in order.
    pub fn values(&self) -> Outcome<Vec<String>> {
        let rows = self.rows(self.table)?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    /// With which other service it shares its queue, if it does.
    pub fn shares(&self, lab: &Lab) -> Outcome<Option<String>> {
        let queue = self.queue(lab)?;
        let consumes = lab.journal().frames(|frame| {
            let own = frame.service.starts_with(&self.role);
            frame.method == Method::BasicConsume && frame.args["queue"] == *queue && !own
        });
        let other = consumes.first().map(|frame| &frame.service);
        Ok(other.map(|other| format!("{other} takes from its queue `{queue}`, too")))
    }

    /// Waits until it has recorded these, each once, and has acked all that came.
    pub async fn gets(&self, lab: &Lab, expected: &str, ids: &[String]) -> Outcome {
        let (name, queue) = (self.name(), self.queue(lab)?);
        let expected = format!("{name}: {expected}");
        let look = async || self.ids();
        let arrived = lab
            .each_once_at(&name, &expected, Some(&queue), ids, look)
            .await;
        let with = self.shares(lab)?;
        arrived.map_err(|stop| match (stop, with) {
            (Stop::Failed(mut failure), Some(with)) => {
                failure.observed += &format!("; {with}");
                failure.because(SHARED).hole(4).into()
            }
            (stop, _) => stop,
        })?;
        let why = "what is not acked comes again";
        lab.eventually(&format!("queue `{queue}` is worked off"), why, async || {
            let left = lab.queue(&queue).await?;
            let left = left.map_or(0, |queue| queue.ready + queue.unacked);
            Ok(Seen::when(left == 0, || format!("{left} left")))
        })
        .await
    }

    /// As [`Listener::gets`], and nothing else.
    pub async fn gets_only(&self, lab: &Lab, expected: &str, ids: &[String]) -> Outcome {
        self.gets(lab, expected, ids).await?;
        let rows = self.ids()?.len();
        fail(
            format!("{}: {expected}, and nothing else", self.name()),
            format!("{rows} recorded instead of {}", ids.len()),
        )
        .because("each message has one effect, however often it is delivered")
        .unless(rows == ids.len())
    }

    /// Waits until `GET /recommendations` tells of so many views of the film, and no more.
    pub async fn recommends(&self, lab: &Lab, expected: &str, views: u64) -> Outcome {
        let expected = format!("recommendations: {expected}");
        let shared = self.shares(lab)?;
        let missing = || match &shared {
            Some(with) => format!("; {with}"),
            None => String::new(),
        };
        let hole = if shared.is_some() { 4 } else { 5 };
        let why = "each service has a copy of all that comes while its queue is there";
        let waited = lab
            .eventually(&expected, why, async || {
                let answer = self.get("/recommendations").await?.json();
                let seen = answer["recommendations"][0]["views"].as_u64().unwrap_or(0);
                let told = format!("it tells of {seen}{}", missing());
                fail(&expected, &told).because(why).unless(seen <= views)?;
                Ok(Seen::when(seen == views, || told))
            })
            .await;
        about(hole, waited)
    }

    /// Stops it in order.
    pub async fn stops(&self) -> Outcome {
        let exit = self.stop().await?;
        fail("SIGTERM: exit code 0", exit.to_string())
            .because("whoever stopped it takes anything else for a crash")
            .unless(exit == Exit::Code(0))
    }
}

/// An answer, with what the service logged last: why it is not the one that was expected.
pub fn told(service: &Service, answer: &Response) -> String {
    let words = service.last_words(1).join("");
    format!("{}; last in its log:\n{words}", answer.summary())
}

/// Watches a film `count` times, and gives the ids of the views.
pub async fn watch(streaming: &Service, count: usize) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = streaming.get("/video").await?;
        let id = answer.view_id.clone().filter(|_| answer.ok());
        let expected = "GET /video answers 200 with the film and its view-id";
        ids.push(id.ok_or_else(|| {
            fail(expected, told(streaming, &answer))
                .because("the broker is there, and somebody is bound")
                .hole(2)
        })?);
    }
    Ok(ids)
}

/// An order; with an id where the client gives it one.
pub fn order(id: Option<&str>) -> Value {
    let mut order = json!({ "item": "lamp", "pence": 1250, "customer": "Ada" });
    if let Some(id) = id {
        order["saleId"] = id.into();
    }
    order
}

/// An id for a sale, as a client makes it.
pub fn new_id(lab: &Lab) -> String {
    lab.random(|chance| Uuid::from_u128(chance.random()).to_string())
}

/// The id of the sale, when the answer says that it is one.
pub fn sold(answer: &Response) -> Option<String> {
    let id = answer.json()["saleId"].as_str()?.to_owned();
    answer.ok().then_some(id)
}

/// Sells `count` lamps, and gives the ids of the sales.
pub async fn sell(shop: &Service, count: usize) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = shop.post("/sales", &order(None)).await?;
        let expected = "POST /sales answers 200 with a saleId";
        ids.push(sold(&answer).ok_or_else(|| {
            fail(expected, told(shop, &answer))
                .because("the broker is there, so the sale can be published")
        })?);
    }
    Ok(ids)
}

/// An outcome, in a check that knows better which hole it is about.
pub fn about<T>(hole: u32, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) if failure.hole != Some(4) => failure.hole(hole).into(),
        other => other,
    })
}

/// Properties with a message id, as a foreign client sets them.
pub fn named(id: &str) -> BasicProperties {
    BasicProperties::default().with_message_id(id.into())
}

/// Declares an exchange as a client in another language would, and binds a queue of the
/// check's own to it.
pub async fn mailbox(lab: &Lab, exchange: &str, kind: ExchangeKind, queue: &str) -> Outcome {
    let connection = lab.connect().await?;
    lab.journal().note(format!(
        "declares the durable {kind:?} exchange `{exchange}`, and binds queue `{queue}`"
    ));
    let made = async {
        let channel = connection.create_channel().await?;
        let none = FieldTable::default;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel.exchange_declare(exchange.into(), kind, options, none());
        declared.await?;
        let durable = QueueDeclareOptions::durable();
        channel.queue_declare(queue.into(), durable, none()).await?;
        let (key, options) = ("some.key".into(), QueueBindOptions::default());
        let bound = channel.queue_bind(queue.into(), exchange.into(), key, options, none());
        bound.await?;
        connection.close(200, "done".into()).await
    };
    Ok(made.await.context("the check cannot make its own queue")?)
}
