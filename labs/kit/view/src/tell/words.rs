//! What a row says, in a few words and in full.

use crate::cut;
use explain::short;
use wiretap::Frame;

/// Between the steps of a row.
const STEP: &str = " · ";

/// By what a message can be named: its id, and its correlation id.
pub(super) fn names(frame: &Frame) -> Vec<String> {
    let message = frame.message.iter();
    let names = message.flat_map(|message| [message.id.clone(), message.correlation_id.clone()]);
    names.flatten().filter(|name| !name.is_empty()).collect()
}

/// What to call a message: by the beginning of its id, else of its body.
pub(super) fn subject(frame: &Frame) -> String {
    match names(frame).first() {
        Some(name) => short(name),
        None => brief(frame.message.as_ref().map_or("", |message| &message.body)),
    }
}

/// "ack 1b9d6bcd", or "ack 3 messages".
pub(super) fn several(verb: &str, count: usize, ids: &[String]) -> String {
    match (count, ids.first()) {
        (1, Some(id)) => format!("{verb} {}", short(id)),
        (0 | 1, _) => verb.to_owned(),
        _ => format!("{verb} {count} messages"),
    }
}

/// A frame as a reader wants to see it: method, arguments, properties, body.
pub(super) fn tip(frame: &Frame) -> String {
    let mut lines = vec![format!(
        "{} on channel {} of {}'s connection {}",
        frame.method, frame.channel, frame.service, frame.connection
    )];
    if let Some(args) = frame.args.as_object() {
        let args = args.iter().filter(|(_, value)| !value.is_null());
        lines.extend(args.map(|(name, value)| format!("{name}: {value}")));
    }
    if let Some(message) = &frame.message {
        let properties = [
            ("message_id", &message.id),
            ("correlation_id", &message.correlation_id),
            ("reply_to", &message.reply_to),
            ("content_type", &message.content_type),
            ("expiration", &message.expiration),
        ];
        let set = properties
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        lines.extend(set.map(|(name, value)| format!("{name}: {value}")));
        let mode = if message.persistent { 2 } else { 1 };
        lines.push(format!("delivery_mode: {mode}"));
        if !message.headers.is_null() {
            lines.push(format!("headers: {}", message.headers));
        }
        lines.push(format!("body ({} bytes): {}", message.size, message.body));
    }
    lines.join("\n")
}

/// An error of the system without its number.
pub(super) fn before_code(error: &str) -> &str {
    error.split(" (os error").next().unwrap_or(error)
}

pub(super) fn word<'f>(frame: &'f Frame, name: &str) -> &'f str {
    frame.args[name].as_str().unwrap_or_default()
}

/// The words of a body that look like the id of something: 36 characters, as a UUID has.
pub(super) fn words_like_ids(body: &str) -> Vec<String> {
    let words = body.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    let ids = words.filter(|word| word.len() == 36 && word.matches('-').count() == 4);
    ids.map(str::to_owned).collect()
}

/// The steps so far with one more: "declare · bind to logs", and then "declare · 2 × bind".
pub(super) fn with_step(steps: &str, next: &str) -> String {
    let verb = next.split(' ').next().unwrap_or(next);
    let (before, last) = steps
        .rsplit_once(STEP)
        .map_or(("", steps), |(before, last)| (before, last));
    let so_far = match last.split_once(" × ") {
        Some((count, own)) if own == verb => count.parse().unwrap_or(1),
        _ if last.split(' ').next() == Some(verb) => 1,
        _ => return format!("{steps}{STEP}{next}"),
    };
    let gap = if before.is_empty() { "" } else { STEP };
    format!("{before}{gap}{} × {verb}", so_far + 1)
}

/// A name or a body for the label of an arrow.
pub(super) fn brief(text: &str) -> String {
    cut(text, 14)
}
