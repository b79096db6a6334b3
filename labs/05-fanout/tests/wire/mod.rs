//! What the wire shows of a service: how it declared its exchange and its queue, and from which
//! queue it and others consume. A failure begins with that, and not with what follows from it.

use std::process::Command;
use std::sync::LazyLock;

use check::wiretap::{ConnectionEvent, Event, Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, loses_messages};

use super::events::{SALES, VIEWED};

/// The hole in which an exchange is declared.
const EXCHANGE: u32 = 2;
/// The hole in which a service gets a queue that is bound.
const QUEUE: u32 = 1;
/// The hole whose checks are about acks and rejects.
const SETTLE: u32 = 5;

/// Whether the service declares its exchange as a durable fanout.
pub fn declares_a_durable_fanout(lab: &Lab, service: &str) -> Outcome {
    let declared = lab.journal().methods(service, Method::ExchangeDeclare);
    let wrong = declared.iter().filter(|frame| !frame.flag("passive"));
    let mut wrong = wrong.filter(|frame| frame.args["type"] != "fanout" || !frame.flag("durable"));
    let Some(frame) = wrong.next() else {
        return Ok(());
    };
    let (exchange, kind) = (text(frame, "exchange"), text(frame, "type"));
    let durable = if frame.flag("durable") {
        "durable"
    } else {
        "transient"
    };
    let why = match kind {
        "fanout" => "a broker that restarts deletes a transient exchange with all its bindings",
        _ => "only a fanout copies each message into every bound queue, whatever its key",
    };
    expect(false)
        .or(
            format!("{service} declares `{exchange}` as a durable fanout exchange"),
            format!("it declares a {durable} {kind} exchange (exchange.declare)"),
        )
        .hole(EXCHANGE)
        .because(why)
}

/// Whether the service consumes with acks, from a queue that keeps each message until its ack.
pub fn keeps_its_messages(lab: &Lab, service: &str) -> Outcome {
    let declares = lab.journal().methods(service, Method::QueueDeclare);
    let flaw = declares.iter().find_map(loses_messages);
    let (flag, why) = flaw.unwrap_or_default();
    expect(flaw.is_none())
        .or(
            format!("{service} has a queue that keeps each message until it is acked"),
            format!("it declares its queue {flag} (queue.declare)"),
        )
        .hole(QUEUE)
        .proven()
        .because(why)?;
    let consumes = lab.journal().methods(service, Method::BasicConsume);
    expect(!consumes.iter().any(|frame| frame.flag("no_ack")))
        .or(
            format!("{service} acks each message when its work is done"),
            "it consumes with no_ack (basic.consume)",
        )
        .hole(SETTLE)
        .proven()
        .because("with no_ack the broker forgets a message once it is delivered")
}

/// Whether the service's queue hands its messages to all its consumers.
pub fn serves_all_instances(lab: &Lab, service: &str) -> Outcome {
    let declares = lab.journal().methods(service, Method::QueueDeclare);
    let single = |frame: &Frame| frame.args["arguments"]["x-single-active-consumer"] == true;
    expect(!declares.iter().any(single))
        .or(
            "each of the two instances gets a part of the sales",
            format!("{service} declares its queue with x-single-active-consumer (queue.declare)"),
        )
        .hole(QUEUE)
        .because("the broker then serves one consumer only: the second instance does nothing")
}

/// The name of this machine.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("uname").arg("-n").output();
    let name = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    name.unwrap_or_default().trim().to_owned()
});

/// Whether the host name is a part of the queue's name, and means nothing else in it.
fn is_named_after_host(queue: &str, host: &str, role: &str) -> bool {
    let words = [role, VIEWED, SALES];
    let telling = !host.is_empty() && !words.iter().any(|word| word.contains(host));
    let letter = |next: Option<char>| next.is_some_and(char::is_alphanumeric);
    let mut found = queue.match_indices(host).map(|(at, _)| {
        let (before, after) = (&queue[..at], &queue[at + host.len()..]);
        !letter(before.chars().next_back()) && !letter(after.chars().next())
    });
    telling && found.any(|whole| whole)
}

/// What is odd about the queue from which `service`, an instance of `role`, consumes: another
/// service consumes from it, too; it is named after the host; or this one, or another instance,
/// consumes from another queue.
pub fn odd_queue(lab: &Lab, (service, role): (&str, &str)) -> Option<(String, &'static str)> {
    let consumes = lab
        .journal()
        .frames(|frame| frame.method == Method::BasicConsume);
    let queue = text(
        consumes.iter().rfind(|frame| frame.service == service)?,
        "queue",
    );
    let own = |frame: &Frame| frame.service.starts_with(role);
    let here = |frame: &Frame| text(frame, "queue") == queue;
    if let Some(sharer) = consumes.iter().find(|frame| here(frame) && !own(frame)) {
        let seen = format!("{} takes from its queue `{queue}`, too", sharer.service);
        return Some((
            seen,
            "services that share a queue share its messages; each needs its own queue",
        ));
    }
    if is_named_after_host(queue, &HOST, role) {
        let seen = format!("its queue `{queue}` is named after the host, `{}`", *HOST);
        let why = "a new container gets a new host name, and so a new queue; the old one fills up";
        return Some((seen, why));
    }
    let other = consumes.iter().rfind(|frame| own(frame) && !here(frame))?;
    let seen = format!(
        "{service} consumes from `{queue}` now, and {} consumed from `{}` before",
        if other.service == service {
            "it"
        } else {
            &other.service
        },
        text(other, "queue"),
    );
    Some((
        seen,
        "a service's messages wait in one queue, whichever instance runs, and however often it is started",
    ))
}

/// Why the broker closed a channel of the service last, as the end of a sentence; empty when it
/// closed none.
pub fn refusal(lab: &Lab, service: &str) -> String {
    let closed = lab.journal().methods(service, Method::ChannelClose);
    let last = closed.iter().rfind(|frame| frame.from == Side::Server);
    last.map_or_else(String::new, |frame| {
        format!("; the broker refused: {}", text(frame, "reply_text"))
    })
}

/// Waits until a cut has ended a connection of the service: what is held on it is lost from then on.
pub async fn is_disconnected(lab: &Lab, service: &Service) -> Outcome {
    let name = service.name();
    let expected = format!("the connection of {name} is cut");
    let why = "the check cuts it, so that what is held on it never arrives";
    lab.eventually(&expected, why, async || {
        let cut = lab.journal().disconnected(&name);
        Ok(Seen::when(cut, || "it is open".to_owned()))
    })
    .await
}

/// How many connections of the service are open.
pub fn open_connections(lab: &Lab, service: &str) -> usize {
    let opened = lab
        .journal()
        .connection_count(service, &ConnectionEvent::Opened);
    let ended = lab.journal().read(|entries| {
        let ends = entries.iter().filter(|entry| {
            matches!(&entry.event, Event::Connection { service: name, what, .. }
                if name == service && what.is_end())
        });
        ends.count()
    });
    opened.saturating_sub(ended)
}

/// An argument of a method, as text.
pub fn text<'a>(frame: &'a Frame, argument: &str) -> &'a str {
    frame.args[argument].as_str().unwrap_or_default()
}
