//! Mistakes that the wire shows, whatever a check looks for: a declaration that loses messages, a
//! queue that the producer binds, a publish to another exchange.

use std::future::Future;

use check::wiretap::{Frame, Method, Side};
use check::{Failure, Lab, Outcome, fail, loses_messages};

use super::logs::LOGS;

/// The mistake that these frames show, if they do.
type Rule = fn(&[Frame]) -> Option<Failure>;

/// Runs a check of this hole. If it fails, and the wire shows a mistake of this hole or an earlier one,
/// that is what failed.
pub async fn judged<F>(lab: Lab, hole: u32, body: fn(Lab) -> F) -> Outcome
where
    F: Future<Output = Outcome>,
{
    let outcome = body(lab.clone()).await;
    outcome.map_err(|stop| first(&lab, hole).map_or(stop, Into::into))
}

/// Fails if the wire shows a mistake of this hole or an earlier one.
pub fn none(lab: &Lab, hole: u32) -> Outcome {
    first(lab, hole).map_or(Ok(()), |failure| Err(failure.into()))
}

/// The mistake to mend first, of those that this hole and earlier ones can hold.
fn first(lab: &Lab, hole: u32) -> Option<Failure> {
    let frames = lab.journal().frames(|frame| frame.from == Side::Client);
    let rules: [(u32, Rule); 8] = [
        (1, queue_loses_messages),
        (1, consumes_without_acks),
        (2, other_exchange_type),
        (2, deletes_the_exchange),
        (3, producer_binds),
        (3, publishes_elsewhere),
        (6, deletes_the_queue),
        (6, unbinds_first),
    ];
    let mut known = rules.into_iter().filter(|(of, _)| *of <= hole);
    known.find_map(|(of, rule)| Some(rule(&frames)?.hole(of)))
}

fn queue_loses_messages(frames: &[Frame]) -> Option<Failure> {
    // The queue behind the alternate exchange has its name, and is about HOLE 7.
    let behind = |queue: &Frame| {
        let mut exchanges = frames.iter().filter(declares_exchange);
        exchanges.any(|frame| frame.args["exchange"] == queue.args["queue"])
    };
    let queues = frames.iter().filter(declares_queue);
    let (observed, why) = queues.filter(|queue| !behind(queue)).find_map(losing)?;
    let failure = fail("a queue keeps each message until it is acked", observed);
    Some(failure.because(why).proven())
}

/// What makes the queue of this queue.declare lose messages, and how it does.
pub fn losing(declare: &Frame) -> Option<(String, &'static str)> {
    let alone = !declare.args["arguments"]["x-single-active-consumer"].is_null();
    let alone = alone.then_some((
        "with x-single-active-consumer",
        "consumers of one queue share it, and here one gets everything",
    ));
    let (flaw, why) = loses_messages(declare).or(alone)?;
    Some((format!("queue.declare {flaw}"), why))
}

fn consumes_without_acks(frames: &[Frame]) -> Option<Failure> {
    let without = |frame: &&Frame| frame.method == Method::BasicConsume && frame.flag("no_ack");
    frames.iter().find(without)?;
    let failure = fail("a consumer acks each message", "basic.consume with no_ack");
    let why = "with no_ack the broker forgets a message once it is delivered";
    Some(failure.because(why).proven())
}

fn other_exchange_type(frames: &[Frame]) -> Option<Failure> {
    let mut ours = frames.iter().filter(declares_exchange);
    let wrong = ours.find(|frame| {
        let right = frame.args["type"] == "topic" && frame.flag("durable");
        frame.args["exchange"] == LOGS && (!right || frame.flag("auto_delete"))
    })?;
    let lasts = match (wrong.flag("durable"), wrong.flag("auto_delete")) {
        (false, _) => "transient",
        (true, true) => "durable, auto-deleted",
        (true, false) => "durable",
    };
    let kind = wrong.args["type"].as_str().unwrap_or("?");
    let expected = format!("`{LOGS}` is declared as a durable topic exchange");
    let why = "only a topic exchange has patterns, and only a durable one survives a restart";
    Some(
        fail(
            expected,
            format!("exchange.declare of a {lasts} {kind} exchange"),
        )
        .because(why),
    )
}

fn deletes_the_exchange(frames: &[Frame]) -> Option<Failure> {
    let deletes = |frame: &&Frame| frame.method == Method::ExchangeDelete;
    let name = frames.iter().find(deletes)?.args["exchange"].clone();
    let observed = format!("exchange.delete of {name}");
    let why = "the broker deletes its bindings with it, those of other teams included";
    Some(fail("no service deletes an exchange", observed).because(why))
}

fn producer_binds(frames: &[Frame]) -> Option<Failure> {
    let mut binds = frames
        .iter()
        .filter(|frame| frame.method == Method::QueueBind && frame.args["exchange"] == LOGS);
    let publishes = |service: &str| {
        let by = |frame: &&Frame| frame.service == service;
        let mut own = frames.iter().filter(by);
        own.any(|frame| frame.method == Method::ConfirmSelect)
    };
    let bind = binds.find(|bind| publishes(&bind.service))?;
    let (queue, key) = (&bind.args["queue"], &bind.args["routing_key"]);
    let observed = format!("the producer binds queue {queue} with {key} (queue.bind)");
    let why = "the producer names a topic, and does not know which queues want it";
    Some(fail("each consumer binds its queue", observed).because(why))
}

fn publishes_elsewhere(frames: &[Frame]) -> Option<Failure> {
    let mut publishes = frames
        .iter()
        .filter(|frame| frame.method == Method::BasicPublish);
    let other = publishes.find(|frame| frame.args["exchange"] != LOGS)?;
    let to = match other.args["exchange"].as_str() {
        Some("") | None => "the default exchange".to_owned(),
        Some(name) => format!("exchange `{name}`"),
    };
    let observed = format!("basic.publish to {to}");
    let why = "another exchange does not have the bindings of the queues";
    Some(
        fail(
            format!("messages are published to exchange `{LOGS}`"),
            observed,
        )
        .because(why),
    )
}

fn deletes_the_queue(frames: &[Frame]) -> Option<Failure> {
    let empties = [Method::QueueDelete, Method::QueuePurge];
    let found = frames
        .iter()
        .find(|frame| empties.contains(&frame.method))?;
    let observed = format!("{} of {}", found.method, found.args["queue"]);
    let why = "messages that wait in a queue are lost with it";
    Some(fail("a pattern is removed, and nothing else", observed).because(why))
}

fn unbinds_first(frames: &[Frame]) -> Option<Failure> {
    let unbind = frames
        .iter()
        .position(|frame| frame.method == Method::QueueUnbind)?;
    let own = |frame: &&Frame| frame.same_channel(&frames[unbind]);
    let mut later = frames[unbind..].iter().filter(own);
    let bind = later.find(|frame| frame.method == Method::QueueBind)?;
    let keys = [&frames[unbind], bind].map(|frame| &frame.args["routing_key"]);
    let observed = format!(
        "queue.unbind of {}, then queue.bind with {}",
        keys[0], keys[1]
    );
    let why = "a message that both patterns match is lost if it is published between the two";
    Some(
        fail(
            "a new pattern is bound before an old one is removed",
            observed,
        )
        .because(why),
    )
}

fn declares_exchange(frame: &&Frame) -> bool {
    frame.method == Method::ExchangeDeclare && !frame.flag("passive")
}

/// Whether this declares a queue. A passive declare only asks for it.
pub fn declares_queue(frame: &&Frame) -> bool {
    frame.method == Method::QueueDeclare && !frame.flag("passive")
}
