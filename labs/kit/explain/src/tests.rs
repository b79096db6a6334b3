//! The finding for each way in which a message can be lost, on journals written as scripts.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod consumed;
mod lost;
mod routed;
mod settled;

use process::{Change, Exit};
use serde_json::{Value, json};

use super::{Finding, Topic, explain};
use wiretap::{CheckEvent, ConnectionEvent, Entry, Event, Frame, Loss, Message, Method, Side};

const ID: &str = "0123456789abcdef";

/// A queue of history's own, bound to exchange `viewed`, from which it consumes.
const HISTORY: &str = "
    history exchange.declare exchange=viewed type=fanout durable
    history queue.declare queue=q durable
    history queue.bind queue=q exchange=viewed routing_key=
    history basic.consume queue=q";
/// A message that `shop` publishes to the queue `q`, and its confirm.
const DIRECT: &str = "
    shop confirm.select
    shop basic.publish exchange= routing_key=q #id
    shop <basic.ack delivery_tag=1";
/// As [`DIRECT`], to the exchange `viewed`.
const FANOUT: &str = "
    shop confirm.select
    shop basic.publish exchange=viewed routing_key= mandatory #id
    shop <basic.ack delivery_tag=1";

/// The journal that a script describes, one line a second. A line has a service, with `/2` its
/// second connection, and what happened: to its connection or process, or a method with the
/// arguments. `<` marks what the broker sends, `#` a message's id, `~` a transient message.
fn journal(script: &str) -> Vec<Entry> {
    let lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let mut t = 0.0;
    let entries = lines.map(|line| {
        t += 1.0;
        let mut words = line.split(' ');
        let (service, verb) = (words.next().unwrap(), words.next().unwrap());
        if service == "wait" {
            t += verb.parse::<f64>().unwrap();
        }
        let event = event(service, verb, words);
        Entry { t, event }
    });
    entries.collect()
}

fn event<'a>(service: &str, verb: &str, words: impl Iterator<Item = &'a str>) -> Event {
    let (name, number) = service.split_once('/').unwrap_or((service, "1"));
    let (service, connection) = (name.to_owned(), number.parse().unwrap());
    let what = match verb {
        "opened" => ConnectionEvent::Opened,
        "closed" => ConnectionEvent::Closed,
        "turned-away" => ConnectionEvent::TurnedAway,
        "cut" => ConnectionEvent::Lost(Loss::ClosedByCheck),
        "ended" => {
            let what = Change::Ended(Exit::Code(1));
            return Event::Service { service, what };
        }
        _ => return check_or_frame(service, connection, verb, words),
    };
    Event::Connection {
        service,
        connection,
        what,
    }
}

fn check_or_frame<'a>(
    service: String,
    connection: u32,
    verb: &str,
    words: impl Iterator<Item = &'a str>,
) -> Event {
    let what = match (&*service, verb) {
        ("broker", _) => CheckEvent::BrokerKilled,
        ("wait", seconds) => CheckEvent::Note(format!("{seconds} s pass")),
        ("check", "deletes") => CheckEvent::QueueDeleted("q".to_owned()),
        ("check", _) => CheckEvent::Published(frame(service, 0, verb, words)),
        _ => return Event::Amqp(frame(service, connection, verb, words)),
    };
    Event::Check { what }
}

fn frame<'a>(
    service: String,
    connection: u32,
    verb: &str,
    words: impl Iterator<Item = &'a str>,
) -> Frame {
    let name = verb.trim_start_matches('<');
    let sends = [Method::BasicDeliver, Method::BasicReturn].map(|method| method.to_string());
    let from_broker =
        verb.starts_with('<') || name.ends_with("-ok") || sends.iter().any(|own| own == name);
    let (mut args, mut message) = (json!({"arguments": {}}), None);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, "true"));
        let text = || Value::String(value.replace('_', " "));
        let parsed = serde_json::from_str(value).unwrap_or_else(|_| text());
        match key.strip_prefix('#') {
            Some(id) => {
                let id = if id == "id" { ID } else { id };
                message = Some(Message {
                    id: Some(id.to_owned()),
                    persistent: true,
                    ..Message::default()
                });
            }
            None if key == "~" => message.as_mut().unwrap().persistent = false,
            None if key == "expiration" => {
                message.as_mut().unwrap().expiration = Some(value.to_owned());
            }
            None if key.starts_with("x-") => args["arguments"][key] = parsed,
            None => args[key] = parsed,
        }
    }
    Frame {
        service,
        connection,
        from: if from_broker {
            Side::Server
        } else {
            Side::Client
        },
        channel: 1,
        method: *Method::ALL
            .iter()
            .find(|method| method.name() == name)
            .unwrap(),
        args,
        message,
    }
}

/// Holds the finding for the message `#id` to its topic and to words of what is observed.
#[track_caller]
fn finds(script: &str, topic: Topic, words: &str) -> Finding {
    holds(explain(&journal(script), ID, None), topic, words)
}

/// As [`finds`], for the copy that `history` should have got.
#[track_caller]
fn history_finds(script: &str, topic: Topic, words: &str) -> Finding {
    holds(explain(&journal(script), ID, Some("history")), topic, words)
}

#[track_caller]
fn holds(finding: Finding, topic: Topic, words: &str) -> Finding {
    assert_eq!(finding.topic, topic, "{finding:?}");
    assert!(
        finding.observed.contains(words),
        "{words}\nis not in\n{}",
        finding.observed
    );
    finding
}
