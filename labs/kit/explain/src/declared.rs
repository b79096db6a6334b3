//! Flags and arguments with which a queue loses messages, and nobody is told.

use wiretap::Frame;

/// What makes the queue of this `queue.declare` lose messages in silence, as a word or two to put behind
/// the method, and how it does.
#[must_use]
pub fn loses_messages(declare: &Frame) -> Option<(&'static str, &'static str)> {
    let arguments = &declare.args["arguments"];
    let has = |name: &str| !arguments[name].is_null();
    let overflow = arguments["x-overflow"].as_str().unwrap_or_default();
    let limited = has("x-max-length") || has("x-max-length-bytes");
    let flaws = [
        (
            declare.flag("exclusive"),
            "exclusive",
            "the broker deletes an exclusive queue, and its messages, with its connection",
        ),
        (
            declare.flag("auto_delete"),
            "auto_delete",
            "the broker deletes an auto-delete queue, and its messages, with its last consumer",
        ),
        (
            !declare.flag("durable"),
            "without durable",
            "a broker that restarts deletes a queue that is not durable, and its messages",
        ),
        (
            has("x-expires"),
            "with x-expires",
            "the broker deletes a queue, and its messages, that has had no consumer for that long",
        ),
        (
            has("x-message-ttl"),
            "with x-message-ttl",
            "the broker drops a message that has waited for that long: its service may be down longer",
        ),
        (
            limited && !overflow.starts_with("reject-publish"),
            "with x-max-length",
            "a full queue drops its oldest message, and nobody is told",
        ),
    ];
    let found = flaws
        .into_iter()
        .find(|(is, _, _)| *is && !declare.flag("passive"));
    found.map(|(_, flag, why)| (flag, why))
}
