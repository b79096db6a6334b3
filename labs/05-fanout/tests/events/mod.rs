//! The services of chapter 05 and the events that they exchange, as the checks use them.

use std::ops::Deref;

use anyhow::Context;
use check::wiretap::{Frame, Method};
use check::{Lab, Outcome, Response, Seen, Service, Stop, expect, fail, fate};
use lapin::BasicProperties;
use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{keeps_its_messages, odd_queue, refusal};

/// The exchange to which `video-streaming` publishes.
pub const VIEWED: &str = "viewed";
/// The exchange to which `shop` publishes.
pub const SALES: &str = "sales";

/// The hole in which a service gets a queue that is bound.
pub const BOUND: u32 = 1;
/// The hole in which a service gets a queue of its own.
pub const OWN_QUEUE: u32 = 3;
/// The hole in which a view gets a row.
pub const ROW: u32 = 4;
/// The hole in which a view is found broken, or has to wait.
pub const JUDGED: u32 = 5;
/// The hole in which the audience gets its queues.
pub const AUDIENCE: u32 = 6;
/// The hole in which the shop promises a sale.
pub const SHOP: u32 = 7;

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

/// An instance of a service, not started yet. All instances of one service share a database, and
/// each has a host name of its own, as in containers.
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
        service: service
            .with("DATABASE", shared.display())
            .with("HOSTNAME", name),
        role: role.to_owned(),
        table,
    })
}

/// The only instance of a service, started and consuming.
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

/// Waits until each of these has recorded the messages with these ids, and nothing else; a
/// failure points to `hole`.
pub async fn each_gets_only<'a>(
    lab: &Lab,
    listeners: impl IntoIterator<Item = &'a Listener>,
    hole: u32,
    expected: &str,
    ids: &[String],
) -> Outcome {
    for listener in listeners {
        at_hole(hole, listener.gets_only(lab, expected, ids).await)?;
    }
    Ok(())
}

impl Listener {
    /// Starts it, and waits until it consumes from a queue.
    pub async fn listen(&self, lab: &Lab) -> Outcome {
        let name = self.name();
        let consuming = || lab.journal().methods(&name, Method::BasicConsumeOk).len();
        let before = consuming();
        self.start().await?;
        let expected = format!("{name} consumes from a queue");
        let why = "an exchange keeps no message; a queue keeps those that a service needs";
        lab.eventually(&expected, why, async || {
            keeps_its_messages(lab, &name)?;
            let started = consuming() > before;
            Ok(Seen::when(started, || {
                format!(
                    "it consumes from none (basic.consume){}",
                    refusal(lab, &name)
                )
            }))
        })
        .await
    }

    /// The same with no patience for a locked database, from its next start on.
    pub fn impatient(self) -> Self {
        let service = self.service.clone().with("DATABASE_TIMEOUT_MS", 1);
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

    /// What is odd about the queue from which it consumes, and why that does harm.
    fn odd_queue(&self, lab: &Lab) -> Option<(String, &'static str)> {
        odd_queue(lab, (&self.name(), &self.role))
    }

    /// Whether its service, and no other, consumes from its queue, and from no other queue.
    pub fn owns_its_queue(&self, lab: &Lab, expected: &str) -> Outcome {
        let (seen, why) = self.odd_queue(lab).unwrap_or_default();
        expect(seen.is_empty())
            .or(expected, seen)
            .hole(OWN_QUEUE)
            .because(why)
    }

    /// Waits until it has recorded the messages with these ids, each once, and has acked all
    /// deliveries.
    pub async fn gets(&self, lab: &Lab, expected: &str, ids: &[String]) -> Outcome {
        let (name, queue) = (self.name(), self.queue(lab)?);
        let expected = format!("{name}: {expected}");
        let recorded = async || self.ids();
        let arrived = lab
            .each_once_at(&name, &expected, Some(&queue), ids, recorded)
            .await;
        match (arrived, self.odd_queue(lab)) {
            (Ok(_), _) => lab.settled(&queue).await,
            (Err(Stop::Failed(mut failure)), Some((seen, why))) => {
                failure.observed = format!("{seen}; {}", failure.observed);
                Err(failure.because(why).hole(OWN_QUEUE).into())
            }
            (Err(stop), _) => Err(stop),
        }
    }

    /// As [`Listener::gets`], and nothing else.
    pub async fn gets_only(&self, lab: &Lab, expected: &str, ids: &[String]) -> Outcome {
        self.gets(lab, expected, ids).await?;
        let rows = self.ids()?.len();
        expect(rows == ids.len())
            .or(
                format!("{}: {expected}, and nothing else", self.name()),
                format!("{rows} recorded instead of {}", ids.len()),
            )
            .because("each message has one effect, however often it is delivered")
    }

    /// Waits until `GET /recommendations` shows this many views of the film, and no more.
    pub async fn recommends(&self, lab: &Lab, expected: &str, views: u64) -> Outcome {
        let expected = format!("recommendations: {expected}");
        let (hole, odd) = match self.odd_queue(lab) {
            Some((odd, _)) => (OWN_QUEUE, format!("; {odd}")),
            None => (ROW, String::new()),
        };
        let why = "a service gets a copy of each message that is published while its queue exists";
        let counted = lab.eventually(&expected, why, async || {
            let answer = self.get("/recommendations").await?.json();
            let seen = answer["recommendations"][0]["views"].as_u64().unwrap_or(0);
            let rows = self.ids()?.len();
            let observed = format!("it shows {seen}, with {rows} row(s) in its database{odd}");
            expect(seen <= views)
                .or(&expected, &observed)
                .because(why)?;
            Ok(Seen::when(seen == views, || observed))
        });
        at_hole(hole, counted.await)
    }
}

/// An answer, with what the service logged last: it may say why.
pub fn with_log(service: &Service, answer: &Response) -> String {
    let words = service.last_words(1).join("");
    format!("{}; last in its log:\n{words}", answer.summary())
}

/// An answer that is no success, with what the wire shows of the message that it is about.
fn explained(lab: &Lab, service: &Service, answer: &Response) -> String {
    let published = lab.journal().methods(&service.name(), Method::BasicPublish);
    match published.last().and_then(Frame::message_id) {
        Some(id) => format!("{}; {}", answer.summary(), fate(lab.journal(), id).observed),
        None => with_log(service, answer) + &refusal(lab, &service.name()),
    }
}

/// Watches a film `count` times, and gives the ids of the views.
pub async fn watch(lab: &Lab, streaming: &Service, count: usize) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = streaming.get("/video").await?;
        let expected = "GET /video answers 200 with the film and its view-id";
        ids.push(watched(&answer).ok_or_else(|| {
            fail(expected, explained(lab, streaming, &answer))
                .because("a bound queue takes the view, so the viewer gets 200")
                .hole(BOUND)
        })?);
    }
    Ok(ids)
}

/// The id of the view, when the answer is a success.
pub fn watched(answer: &Response) -> Option<String> {
    answer
        .header("view-id")
        .filter(|_| answer.ok())
        .map(str::to_owned)
}

/// An order; with an id where the client chose one.
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

/// The id of the sale, when the answer is a success.
pub fn sold(answer: &Response) -> Option<String> {
    let id = answer.json()["saleId"].as_str()?.to_owned();
    answer.ok().then_some(id)
}

/// Whether the answer is a success; a failure when it names another sale than `ours`.
pub fn sold_as(ours: &str, answer: &Response) -> Outcome<bool> {
    let sold = sold(answer);
    let expected = format!("200 with the saleId that was given, {ours}");
    expect(sold.as_deref().is_none_or(|id| id == ours))
        .or(expected, answer.summary())
        .hole(SHOP)
        .because("the id tells client and shop that both orders are one sale")?;
    Ok(sold.is_some())
}

/// Sells `count` lamps, and gives the ids of the sales.
pub async fn sell(lab: &Lab, shop: &Service, count: usize) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = shop.post("/sales", &order(None)).await?;
        let expected = "POST /sales answers 200 with a saleId";
        ids.push(sold(&answer).ok_or_else(|| {
            fail(expected, explained(lab, shop, &answer))
                .because("the broker runs, so the shop can publish the sale")
        })?);
    }
    Ok(ids)
}

/// An outcome whose failure points to `hole`, unless it already points to a shared queue.
pub fn at_hole<T>(hole: u32, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) if failure.hole != Some(OWN_QUEUE) => failure.hole(hole).into(),
        other => other,
    })
}

/// Properties with a message id, as a foreign client sets them.
pub fn identified(id: &str) -> BasicProperties {
    BasicProperties::default().with_message_id(id.into())
}
