//! What the journal keeps of what the check sends itself, not through a wiretap.

use lapin::BasicProperties;
use serde_json::{Value, json};
use wiretap::{Frame, Message, Method, Side};

/// How much of a body the journal shows.
const SHOWN: usize = 60;

/// A message that the check publishes.
pub(super) fn publish(exchange: &str, key: &str, body: &[u8], about: &BasicProperties) -> Frame {
    let args = json!({"exchange": exchange, "routing_key": key});
    let message = Message {
        id: about.message_id().as_ref().map(ToString::to_string),
        expiration: about.expiration().as_ref().map(ToString::to_string),
        persistent: *about.delivery_mode() == Some(2),
        size: body.len() as u64,
        body: String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned(),
        ..Message::default()
    };
    frame(Method::BasicPublish, args, Some(message))
}

/// A durable queue without arguments.
pub(super) fn declare(queue: &str) -> Frame {
    let args = json!({"queue": queue, "durable": true});
    frame(Method::QueueDeclare, args, None)
}

/// A queue that is bound to an exchange.
pub(super) fn bind(queue: &str, exchange: &str, key: &str) -> Frame {
    let args = json!({"queue": queue, "exchange": exchange, "routing_key": key});
    frame(Method::QueueBind, args, None)
}

fn frame(method: Method, args: Value, message: Option<Message>) -> Frame {
    Frame {
        service: "the check".to_owned(),
        connection: 0,
        from: Side::Client,
        channel: 0,
        method,
        args,
        message,
    }
}
