//! What both tell, in the same words.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use wiretap::journal::Recorded;
use wiretap::{Event, Method, Side};

use super::tshark::Captured;

/// A method that is compared.
struct Compared {
    /// The class and the method, as the AMQP specification numbers them.
    number: [&'static str; 2],
    /// The journal's own.
    method: Method,
    /// How many of them the scene has at least.
    least: usize,
    /// The arguments that are compared.
    arguments: &'static [&'static str],
}

#[rustfmt::skip]
const COMPARED: [Compared; 7] = [
    Compared { number: ["60", "40"], method: Method::BasicPublish, least: 59,
        arguments: &["exchange", "routing_key", "mandatory"] },
    Compared { number: ["60", "50"], method: Method::BasicReturn, least: 1,
        arguments: &["reply_code", "reply_text", "exchange", "routing_key"] },
    Compared { number: ["60", "60"], method: Method::BasicDeliver, least: 59,
        arguments: &["consumer_tag", "delivery_tag", "redelivered", "exchange", "routing_key"] },
    Compared { number: ["60", "71"], method: Method::BasicGetOk, least: 1,
        arguments: &["delivery_tag", "redelivered"] },
    // The broker may confirm many publishes with one.
    Compared { number: ["60", "80"], method: Method::BasicAck, least: 55,
        arguments: &["delivery_tag", "multiple"] },
    Compared { number: ["60", "90"], method: Method::BasicReject, least: 3,
        arguments: &["delivery_tag", "requeue"] },
    Compared { number: ["60", "120"], method: Method::BasicNack, least: 3,
        arguments: &["delivery_tag", "multiple", "requeue"] },
];

/// How much of a body the journal keeps, in bytes.
const BODY: usize = 256;

/// Where a method was seen: service, connection, whether the service sent it, channel. Only there both
/// have the same order: the frames of two channels mix, and so do two directions.
type Way<'a> = (&'a str, u32, bool, u16);

/// A method with its arguments and its message's size and id, and the beginning of the body.
#[derive(Debug, PartialEq)]
struct Told {
    method: String,
    body: String,
}

type Account<'a> = BTreeMap<Way<'a>, Vec<Told>>;

/// Fails at the first difference.
pub fn agree(
    recorded: &Recorded,
    captured: &[Captured],
    ports: &BTreeMap<u16, &str>,
) -> Result<()> {
    ensure!(recorded.unread.is_empty(), "{:?}", recorded.unread);
    let journal = of_journal(recorded);
    let tshark = of_tshark(captured, ports)?;
    for way in journal.keys().chain(tshark.keys()) {
        let (service, connection, by_client, channel) = way;
        let none = Vec::new();
        let [ours, theirs] = [&journal, &tshark].map(|account| account.get(way).unwrap_or(&none));
        let mut places = 0..ours.len().max(theirs.len());
        if let Some(at) = places.find(|&at| ours.get(at) != theirs.get(at)) {
            bail!(
                "{service}, connection {connection}, channel {channel}, sent by {}: method {} differs; \
                 the journal has {} in all, tshark {}.\njournal: {:?}\ntshark:  {:?}",
                if *by_client { service } else { "the broker" },
                at + 1,
                ours.len(),
                theirs.len(),
                ours.get(at),
                theirs.get(at),
            );
        }
    }
    for Compared { method, least, .. } in COMPARED {
        let begins = format!("{method} ");
        let all = tshark.values().flatten();
        let count = all.filter(|told| told.method.starts_with(&begins)).count();
        println!("{method}: {count}, the same in both");
        ensure!(
            count >= least,
            "{method}: {count}, but the scene has {least}"
        );
    }
    Ok(())
}

fn of_journal(recorded: &Recorded) -> Account<'_> {
    let mut account = Account::new();
    for entry in &recorded.entries {
        let Event::Amqp(frame) = &entry.event else {
            continue;
        };
        let same = |compared: &&Compared| compared.method == frame.method;
        let Some(compared) = COMPARED.iter().find(same) else {
            continue;
        };
        let mut method = compared.with(|argument| Some(plain(&frame.args[argument])));
        let mut body = String::new();
        if let Some(message) = &frame.message {
            let id = message.id.as_deref().unwrap_or_default();
            method += &format!(" size={} id={id}", message.size);
            body.clone_from(&message.body);
        }
        let by_client = frame.from == Side::Client;
        let way = (&*frame.service, frame.connection, by_client, frame.channel);
        account.entry(way).or_default().push(Told { method, body });
    }
    account
}

fn of_tshark<'a>(captured: &[Captured], ports: &BTreeMap<u16, &'a str>) -> Result<Account<'a>> {
    let mut account = Account::new();
    for frame in captured {
        let field = |name: &str| frame.fields.get(name).map(String::as_str);
        let channel = field("amqp.channel").unwrap_or("0").parse()?;
        let way = (
            ports[&frame.port],
            frame.connection,
            frame.by_client,
            channel,
        );
        let told = account.entry(way).or_default();
        match field("amqp.type") {
            Some("1") => {
                let number = ["amqp.method.class", "amqp.method.method"].map(field);
                let same = |compared: &&Compared| compared.number.map(Some) == number;
                if let Some(compared) = COMPARED.iter().find(same) {
                    let argument = |name: &str| {
                        let argument = field(&format!("amqp.method.arguments.{name}"));
                        argument.map(str::to_owned)
                    };
                    let (method, body) = (compared.with(argument), String::new());
                    told.push(Told { method, body });
                }
            }
            // Content follows its method: on its channel, nothing stands between.
            Some("2") => {
                let size = field("amqp.header.body-size").context("a header without a size")?;
                let id = field("amqp.method.properties.message_id").unwrap_or_default();
                let last = told.last_mut().context("a header without a method")?;
                last.method += &format!(" size={size} id={id}");
            }
            Some("3") => {
                let last = told.last_mut().context("a body without a method")?;
                let bytes = field("amqp.payload")
                    .into_iter()
                    .flat_map(|hex| hex.split(':'));
                for byte in bytes.take(BODY - last.body.len()) {
                    last.body.push(u8::from_str_radix(byte, 16)?.into());
                }
            }
            _ => {}
        }
    }
    account.retain(|_, told| !told.is_empty());
    Ok(account)
}

impl Compared {
    /// The method with its arguments.
    fn with(&self, argument: impl Fn(&str) -> Option<String>) -> String {
        let arguments = self.arguments.iter();
        let all = arguments.map(|name| format!(" {name}={:?}", argument(name).unwrap_or_default()));
        format!("{}{}", self.method, all.collect::<String>())
    }
}

/// A value as tshark has it, as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(set) => u8::from(*set).to_string(),
        other => other.to_string(),
    }
}
