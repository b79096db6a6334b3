//! Reads the AMQP frames of one direction of a connection, without touching its bytes.

use std::collections::HashMap;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use super::journal::{Frame, Message, Side};

/// The frames of the largest size that a RabbitMQ broker agrees to are far below this; a
/// longer one is not AMQP.
const LARGEST_FRAME: usize = 16 * 1024 * 1024;
/// The type of a frame that holds a part of a body, and what ends each frame.
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;
/// How a client's protocol header begins.
const GREETING: &[u8] = b"AMQP";
/// How much of a body the journal keeps, in bytes.
const BODY_KEPT: usize = 256;

/// The AMQP frame at the head of `bytes`, once it is whole; `None` also for what is not one.
///
/// The library's parser is generic and takes seconds to compile: the lab has this one of it.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<AMQPFrame> {
    parse_frame(bytes).ok().map(|(_, frame)| frame)
}

/// A method whose content is not complete yet.
#[derive(Debug)]
struct Content {
    frame: Frame,
    /// How many bytes of the body are still to come.
    left: u64,
    kept: Vec<u8>,
}

/// Splits one direction of a connection into frames and decodes them.
#[derive(Debug)]
pub struct Decoder {
    service: String,
    connection: u32,
    from: Side,
    greeted: bool,
    lost: bool,
    contents: HashMap<u16, Content>,
}

impl Decoder {
    /// A decoder for what `from` sends on the `connection`th connection of `service`.
    #[must_use]
    pub fn new(service: &str, connection: u32, from: Side) -> Self {
        Self {
            service: service.to_owned(),
            connection,
            from,
            // Only the client opens with the protocol header, `AMQP0091`.
            greeted: from == Side::Server,
            lost: false,
            contents: HashMap::new(),
        }
    }

    /// Whether something came that is not AMQP; from then on bytes are passed on unread.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Reads the frame at the head of `bytes` once it is all there: how long it is, and the
    /// method that it completes. What cannot be decoded is one frame, whatever its length.
    pub fn read(&mut self, bytes: &[u8]) -> Option<(usize, Option<Frame>)> {
        let length = self.next_length(bytes)?;
        Some((length, self.decode(&bytes[..length])))
    }

    /// The length in bytes of the frame at the head of `pending`, once it is all there.
    fn next_length(&mut self, pending: &[u8]) -> Option<usize> {
        if pending.is_empty() {
            return None;
        }
        if self.lost {
            return Some(pending.len());
        }
        // Told by the first bytes, so that a peer which waits for an answer to them gets it.
        let plausible = if self.greeted {
            matches!(pending[0], 1 | 2 | 3 | 8)
        } else {
            let mut both = pending.iter().zip(GREETING);
            both.all(|(byte, expected)| byte == expected)
        };
        if !plausible {
            self.lost = true;
            return Some(pending.len());
        }
        let header = if self.greeted { 7 } else { 8 };
        if pending.len() < header {
            return None;
        }
        if !self.greeted {
            return Some(header);
        }
        let size = [3, 4, 5, 6].map(|at| pending[at]);
        let length = u32::from_be_bytes(size) as usize + 8;
        if length > LARGEST_FRAME {
            self.lost = true;
            return Some(pending.len());
        }
        (pending.len() >= length).then_some(length)
    }

    fn decode(&mut self, bytes: &[u8]) -> Option<Frame> {
        if self.lost {
            return None;
        }
        // The library would copy the body.
        if let [BODY, high, low, _, _, _, _, body @ .., FRAME_END] = bytes {
            return self.body(u16::from_be_bytes([*high, *low]), body);
        }
        let Some(frame) = parse(bytes) else {
            self.lost = true;
            return None;
        };
        match frame {
            AMQPFrame::ProtocolHeader(_) => {
                self.greeted = true;
                None
            }
            AMQPFrame::Method(channel, class) => {
                let (method, args) = describe(&class);
                let frame = Frame {
                    service: self.service.clone(),
                    connection: self.connection,
                    from: self.from,
                    channel,
                    method,
                    args,
                    message: None,
                };
                if carries_content(method) {
                    let (left, kept) = (0, Vec::new());
                    let content = Content { frame, left, kept };
                    self.contents.insert(channel, content);
                    return None;
                }
                Some(frame)
            }
            AMQPFrame::Header(channel, header) => {
                let content = self.contents.get_mut(&channel)?;
                content.frame.message = Some(message(&header.properties, header.body_size));
                content.left = header.body_size;
                self.finish(channel)
            }
            AMQPFrame::Body(channel, body) => self.body(channel, &body),
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) => None,
        }
    }

    /// Takes a part of the body of what is sent on `channel`.
    fn body(&mut self, channel: u16, body: &[u8]) -> Option<Frame> {
        let content = self.contents.get_mut(&channel)?;
        content.left = content.left.saturating_sub(body.len() as u64);
        let room = BODY_KEPT - content.kept.len();
        content
            .kept
            .extend_from_slice(&body[..body.len().min(room)]);
        self.finish(channel)
    }

    /// The method whose content is complete now, if it is.
    fn finish(&mut self, channel: u16) -> Option<Frame> {
        if self.contents.get(&channel)?.left > 0 {
            return None;
        }
        let mut content = self.contents.remove(&channel)?;
        if let Some(message) = &mut content.frame.message {
            message.body = text(&content.kept);
        }
        Some(content.frame)
    }
}

fn carries_content(method: &str) -> bool {
    matches!(
        method,
        "basic.publish" | "basic.deliver" | "basic.return" | "basic.get-ok"
    )
}

/// The bytes as text, without a last letter that was cut in two.
fn text(bytes: &[u8]) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    String::from_utf8_lossy(&bytes[..whole]).into_owned()
}

fn message(properties: &AMQPProperties, size: u64) -> Message {
    let text = |value: &Option<amq_protocol::types::ShortString>| {
        value.as_ref().map(|text| text.as_str().to_owned())
    };
    Message {
        id: text(properties.message_id()),
        content_type: text(properties.content_type()),
        persistent: *properties.delivery_mode() == Some(2),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        headers: properties.headers().as_ref().map_or(Value::Null, plain),
        size,
        body: String::new(),
    }
}

fn plain(table: &FieldTable) -> Value {
    let fields = table.inner().iter();
    fields
        .map(|(key, value)| (key.as_str().to_owned(), plain_value(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// An argument as another language's client would show it.
fn plain_value(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::ShortString(value) => json!(value.as_str()),
        AMQPValue::LongString(value) => json!(String::from_utf8_lossy(value.as_bytes())),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(plain_value).collect(),
        AMQPValue::FieldTable(table) => plain(table),
        AMQPValue::Void => Value::Null,
        AMQPValue::DecimalValue(_) | AMQPValue::ByteArray(_) => json!(format!("{value:?}")),
    }
}

/// A method's name in the specification and the arguments that a lesson speaks of.
/// Credentials (`connection.start-ok`) are never among them.
fn describe(class: &AMQPClass) -> (&'static str, Value) {
    match class {
        AMQPClass::Connection(method) => describe_connection(method),
        AMQPClass::Channel(method) => describe_channel(method),
        AMQPClass::Exchange(method) => describe_exchange(method),
        AMQPClass::Queue(method) => describe_queue(method),
        AMQPClass::Basic(method) => describe_basic(method),
        AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => ("confirm.select", json!({})),
        AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => ("confirm.select-ok", json!({})),
        AMQPClass::Access(_) => ("access", json!({})),
        AMQPClass::Tx(_) => ("tx", json!({})),
    }
}

fn describe_connection(method: &connection::AMQPMethod) -> (&'static str, Value) {
    use connection::AMQPMethod as M;
    match method {
        M::Start(_) => ("connection.start", json!({})),
        M::StartOk(m) => (
            "connection.start-ok",
            json!({"connection_name": plain(&m.client_properties)["connection_name"]}),
        ),
        M::Tune(m) => ("connection.tune", json!({"heartbeat": m.heartbeat})),
        M::TuneOk(m) => ("connection.tune-ok", json!({"heartbeat": m.heartbeat})),
        M::Open(m) => ("connection.open", json!({"vhost": m.virtual_host.as_str()})),
        M::OpenOk(_) => ("connection.open-ok", json!({})),
        M::Close(m) => (
            "connection.close",
            json!({"reply_code": m.reply_code, "reply_text": m.reply_text.as_str()}),
        ),
        M::CloseOk(_) => ("connection.close-ok", json!({})),
        M::Blocked(m) => ("connection.blocked", json!({"reason": m.reason.as_str()})),
        M::Unblocked(_) => ("connection.unblocked", json!({})),
        M::Secure(_) | M::SecureOk(_) | M::UpdateSecret(_) | M::UpdateSecretOk(_) => {
            ("connection.secure", json!({}))
        }
    }
}

fn describe_channel(method: &channel::AMQPMethod) -> (&'static str, Value) {
    use channel::AMQPMethod as M;
    match method {
        M::Open(_) => ("channel.open", json!({})),
        M::OpenOk(_) => ("channel.open-ok", json!({})),
        M::Flow(m) => ("channel.flow", json!({"active": m.active})),
        M::FlowOk(m) => ("channel.flow-ok", json!({"active": m.active})),
        M::Close(m) => (
            "channel.close",
            json!({"reply_code": m.reply_code, "reply_text": m.reply_text.as_str()}),
        ),
        M::CloseOk(_) => ("channel.close-ok", json!({})),
    }
}

fn describe_exchange(method: &exchange::AMQPMethod) -> (&'static str, Value) {
    use exchange::AMQPMethod as M;
    match method {
        M::Declare(m) => (
            "exchange.declare",
            json!({"exchange": m.exchange.as_str(), "type": m.kind.as_str(), "passive": m.passive,
                "durable": m.durable, "arguments": plain(&m.arguments)}),
        ),
        M::DeclareOk(_) => ("exchange.declare-ok", json!({})),
        M::Delete(m) => ("exchange.delete", json!({"exchange": m.exchange.as_str()})),
        M::DeleteOk(_) => ("exchange.delete-ok", json!({})),
        M::Bind(m) => (
            "exchange.bind",
            json!({"source": m.source.as_str(), "destination": m.destination.as_str(),
                "routing_key": m.routing_key.as_str()}),
        ),
        M::BindOk(_) => ("exchange.bind-ok", json!({})),
        M::Unbind(_) => ("exchange.unbind", json!({})),
        M::UnbindOk(_) => ("exchange.unbind-ok", json!({})),
    }
}

fn describe_queue(method: &queue::AMQPMethod) -> (&'static str, Value) {
    use queue::AMQPMethod as M;
    match method {
        M::Declare(m) => (
            "queue.declare",
            json!({"queue": m.queue.as_str(), "passive": m.passive, "durable": m.durable,
                "exclusive": m.exclusive, "auto_delete": m.auto_delete,
                "arguments": plain(&m.arguments)}),
        ),
        M::DeclareOk(m) => (
            "queue.declare-ok",
            json!({"queue": m.queue.as_str(), "message_count": m.message_count,
                "consumer_count": m.consumer_count}),
        ),
        M::Bind(m) => (
            "queue.bind",
            json!({"queue": m.queue.as_str(), "exchange": m.exchange.as_str(),
                "routing_key": m.routing_key.as_str()}),
        ),
        M::BindOk(_) => ("queue.bind-ok", json!({})),
        M::Unbind(m) => (
            "queue.unbind",
            json!({"queue": m.queue.as_str(), "exchange": m.exchange.as_str(),
                "routing_key": m.routing_key.as_str()}),
        ),
        M::UnbindOk(_) => ("queue.unbind-ok", json!({})),
        M::Purge(m) => ("queue.purge", json!({"queue": m.queue.as_str()})),
        M::PurgeOk(_) => ("queue.purge-ok", json!({})),
        M::Delete(m) => ("queue.delete", json!({"queue": m.queue.as_str()})),
        M::DeleteOk(_) => ("queue.delete-ok", json!({})),
    }
}

fn describe_basic(method: &basic::AMQPMethod) -> (&'static str, Value) {
    use basic::AMQPMethod as M;
    match method {
        M::Qos(m) => (
            "basic.qos",
            json!({"prefetch_count": m.prefetch_count, "global": m.global}),
        ),
        M::QosOk(_) => ("basic.qos-ok", json!({})),
        M::Consume(m) => (
            "basic.consume",
            json!({"queue": m.queue.as_str(), "consumer_tag": m.consumer_tag.as_str(),
                "no_ack": m.no_ack, "exclusive": m.exclusive}),
        ),
        M::ConsumeOk(m) => (
            "basic.consume-ok",
            json!({"consumer_tag": m.consumer_tag.as_str()}),
        ),
        M::Cancel(m) => (
            "basic.cancel",
            json!({"consumer_tag": m.consumer_tag.as_str()}),
        ),
        M::CancelOk(m) => (
            "basic.cancel-ok",
            json!({"consumer_tag": m.consumer_tag.as_str()}),
        ),
        M::Publish(m) => (
            "basic.publish",
            json!({"exchange": m.exchange.as_str(), "routing_key": m.routing_key.as_str(),
                "mandatory": m.mandatory}),
        ),
        M::Return(m) => (
            "basic.return",
            json!({"reply_code": m.reply_code, "reply_text": m.reply_text.as_str(),
                "exchange": m.exchange.as_str(), "routing_key": m.routing_key.as_str()}),
        ),
        M::Deliver(m) => (
            "basic.deliver",
            json!({"consumer_tag": m.consumer_tag.as_str(), "delivery_tag": m.delivery_tag,
                "redelivered": m.redelivered, "exchange": m.exchange.as_str(),
                "routing_key": m.routing_key.as_str()}),
        ),
        M::Get(m) => (
            "basic.get",
            json!({"queue": m.queue.as_str(), "no_ack": m.no_ack}),
        ),
        M::GetOk(m) => (
            "basic.get-ok",
            json!({"delivery_tag": m.delivery_tag, "redelivered": m.redelivered}),
        ),
        M::GetEmpty(_) => ("basic.get-empty", json!({})),
        M::Ack(m) => (
            "basic.ack",
            json!({"delivery_tag": m.delivery_tag, "multiple": m.multiple}),
        ),
        M::Nack(m) => (
            "basic.nack",
            json!({"delivery_tag": m.delivery_tag, "multiple": m.multiple, "requeue": m.requeue}),
        ),
        M::Reject(m) => (
            "basic.reject",
            json!({"delivery_tag": m.delivery_tag, "requeue": m.requeue}),
        ),
        M::Recover(m) => ("basic.recover", json!({"requeue": m.requeue})),
        M::RecoverAsync(m) => ("basic.recover-async", json!({"requeue": m.requeue})),
        M::RecoverOk(_) => ("basic.recover-ok", json!({})),
    }
}

#[cfg(test)]
mod tests;
