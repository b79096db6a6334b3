//! Reads the AMQP frames of one direction of a connection, without touching its bytes.

use std::collections::HashMap;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic, channel, connection, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use super::frame::{Frame, Message, Side};
use super::method::Method;

/// A longer frame is not AMQP: RabbitMQ agrees to far shorter frames only.
const LARGEST_FRAME: usize = 16 * 1024 * 1024;
/// The type of a frame that holds part of a body, and the byte that ends every frame.
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;
/// How a client's protocol header begins.
const GREETING: &[u8] = b"AMQP";
/// How many bytes of a body the journal keeps.
const BODY_KEPT: usize = 256;

/// The AMQP frame at the start of `bytes`, if it is complete; `None` also when it is not AMQP.
///
/// The codec's parser is generic and takes seconds to compile, so the lab instantiates it here
/// only.
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

    /// Whether this side has sent something that is not AMQP. After it, bytes pass unread.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Reads the frame at the start of `bytes`, if it is complete: its length, and the method
    /// that it completes. Bytes that cannot be decoded count as one frame.
    pub fn read(&mut self, bytes: &[u8]) -> Option<(usize, Option<Frame>)> {
        let length = self.next_length(bytes)?;
        Some((length, self.decode(&bytes[..length])))
    }

    /// The length in bytes of the frame at the start of `pending`, if it is complete.
    fn next_length(&mut self, pending: &[u8]) -> Option<usize> {
        if pending.is_empty() {
            return None;
        }
        if self.lost {
            return Some(pending.len());
        }
        // The first bytes decide: a peer that waits for an answer to them must get it.
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
        // The codec would copy the body.
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
                let method = Method::from(&class);
                let frame = Frame {
                    service: self.service.clone(),
                    connection: self.connection,
                    from: self.from,
                    channel,
                    method,
                    args: arguments(&class),
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

    /// Adds part of the body of the message that is being sent on `channel`.
    fn body(&mut self, channel: u16, body: &[u8]) -> Option<Frame> {
        let content = self.contents.get_mut(&channel)?;
        content.left = content.left.saturating_sub(body.len() as u64);
        let room = BODY_KEPT - content.kept.len();
        content
            .kept
            .extend_from_slice(&body[..body.len().min(room)]);
        self.finish(channel)
    }

    /// The method on `channel`, if its content is complete now.
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

fn carries_content(method: Method) -> bool {
    use Method::{BasicDeliver, BasicGetOk, BasicPublish, BasicReturn};
    matches!(
        method,
        BasicPublish | BasicDeliver | BasicReturn | BasicGetOk
    )
}

/// The bytes as text, without an incomplete last character.
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
        expiration: text(properties.expiration()),
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

/// An argument as a client in another language shows it.
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

/// Those arguments of a method that a lesson mentions, and never credentials
/// (`connection.start-ok`).
fn arguments(method: &AMQPClass) -> Value {
    match method {
        AMQPClass::Connection(method) => of_connection(method),
        AMQPClass::Channel(method) => of_channel(method),
        AMQPClass::Exchange(method) => of_exchange(method),
        AMQPClass::Queue(method) => of_queue(method),
        AMQPClass::Basic(method) => of_basic(method),
        AMQPClass::Confirm(_) | AMQPClass::Access(_) | AMQPClass::Tx(_) => json!({}),
    }
}

fn of_connection(method: &connection::AMQPMethod) -> Value {
    use connection::AMQPMethod as M;
    match method {
        M::StartOk(m) => {
            json!({"connection_name": plain(&m.client_properties)["connection_name"]})
        }
        M::Tune(m) => json!({"heartbeat": m.heartbeat}),
        M::TuneOk(m) => json!({"heartbeat": m.heartbeat}),
        M::Open(m) => json!({"vhost": m.virtual_host.as_str()}),
        M::Close(m) => json!({"reply_code": m.reply_code, "reply_text": m.reply_text.as_str()}),
        M::Blocked(m) => json!({"reason": m.reason.as_str()}),
        _ => json!({}),
    }
}

fn of_channel(method: &channel::AMQPMethod) -> Value {
    use channel::AMQPMethod as M;
    match method {
        M::Flow(m) => json!({"active": m.active}),
        M::FlowOk(m) => json!({"active": m.active}),
        M::Close(m) => json!({"reply_code": m.reply_code, "reply_text": m.reply_text.as_str()}),
        _ => json!({}),
    }
}

fn of_exchange(method: &exchange::AMQPMethod) -> Value {
    use exchange::AMQPMethod as M;
    match method {
        M::Declare(m) => json!({"exchange": m.exchange.as_str(), "type": m.kind.as_str(),
            "passive": m.passive, "durable": m.durable, "auto_delete": m.auto_delete,
            "arguments": plain(&m.arguments)}),
        M::Delete(m) => json!({"exchange": m.exchange.as_str()}),
        M::Bind(m) => json!({"source": m.source.as_str(), "destination": m.destination.as_str(),
            "routing_key": m.routing_key.as_str()}),
        _ => json!({}),
    }
}

fn of_queue(method: &queue::AMQPMethod) -> Value {
    use queue::AMQPMethod as M;
    match method {
        M::Declare(m) => json!({"queue": m.queue.as_str(), "passive": m.passive,
            "durable": m.durable, "exclusive": m.exclusive, "auto_delete": m.auto_delete,
            "arguments": plain(&m.arguments)}),
        M::DeclareOk(m) => json!({"queue": m.queue.as_str(), "message_count": m.message_count,
            "consumer_count": m.consumer_count}),
        M::Bind(m) => json!({"queue": m.queue.as_str(), "exchange": m.exchange.as_str(),
            "routing_key": m.routing_key.as_str()}),
        M::Unbind(m) => json!({"queue": m.queue.as_str(), "exchange": m.exchange.as_str(),
            "routing_key": m.routing_key.as_str()}),
        M::Purge(m) => json!({"queue": m.queue.as_str()}),
        M::Delete(m) => json!({"queue": m.queue.as_str()}),
        _ => json!({}),
    }
}

fn of_basic(method: &basic::AMQPMethod) -> Value {
    use basic::AMQPMethod as M;
    match method {
        M::Qos(m) => json!({"prefetch_count": m.prefetch_count, "global": m.global}),
        M::Consume(m) => json!({"queue": m.queue.as_str(), "no_ack": m.no_ack,
            "consumer_tag": m.consumer_tag.as_str(), "exclusive": m.exclusive}),
        M::ConsumeOk(m) => json!({"consumer_tag": m.consumer_tag.as_str()}),
        M::Cancel(m) => json!({"consumer_tag": m.consumer_tag.as_str()}),
        M::CancelOk(m) => json!({"consumer_tag": m.consumer_tag.as_str()}),
        M::Publish(m) => json!({"exchange": m.exchange.as_str(),
            "routing_key": m.routing_key.as_str(), "mandatory": m.mandatory}),
        M::Return(m) => json!({"reply_code": m.reply_code, "reply_text": m.reply_text.as_str(),
            "exchange": m.exchange.as_str(), "routing_key": m.routing_key.as_str()}),
        M::Deliver(m) => json!({"consumer_tag": m.consumer_tag.as_str(),
            "delivery_tag": m.delivery_tag, "redelivered": m.redelivered,
            "exchange": m.exchange.as_str(), "routing_key": m.routing_key.as_str()}),
        M::Get(m) => json!({"queue": m.queue.as_str(), "no_ack": m.no_ack}),
        M::GetOk(m) => json!({"delivery_tag": m.delivery_tag, "redelivered": m.redelivered}),
        M::Ack(m) => json!({"delivery_tag": m.delivery_tag, "multiple": m.multiple}),
        M::Nack(m) => json!({"delivery_tag": m.delivery_tag, "multiple": m.multiple,
            "requeue": m.requeue}),
        M::Reject(m) => json!({"delivery_tag": m.delivery_tag, "requeue": m.requeue}),
        M::Recover(m) => json!({"requeue": m.requeue}),
        M::RecoverAsync(m) => json!({"requeue": m.requeue}),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests;
