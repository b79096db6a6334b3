//! Counts the unacked messages of a queue from the journal: the broker reports those of a quorum
//! queue up to 5 s late (3.10.8 and 4.3.6).

use super::frames::{At, frames, is_unacked};
use wiretap::{Journal, Method};

/// How many messages of `queue` were delivered to services and are not acked or rejected yet.
pub fn unacked_of(journal: &Journal, queue: &str) -> u64 {
    journal.read(|entries| {
        let frames = frames(entries);
        let unacked = |consume: &At<'_>| {
            let tag = consumer_tag(&frames, *consume);
            let held = frames.iter().filter(|at| {
                at.index > consume.index
                    && at.frame.same_channel(consume.frame)
                    && at.frame.args["consumer_tag"].as_str() == tag
                    && !closed_since(&frames, **at)
                    && is_unacked(entries, &frames, **at)
            });
            held.count() as u64
        };
        let consumes = frames.iter().filter(|at| {
            at.frame.method == Method::BasicConsume
                && at.frame.args["queue"] == queue
                && !at.frame.flag("no_ack")
        });
        consumes.map(unacked).sum()
    })
}

/// The tag of this subscription. If the service leaves the choice to the broker, the broker's
/// answer has it.
fn consumer_tag<'a>(frames: &[At<'a>], consume: At<'a>) -> Option<&'a str> {
    let tag = |at: At<'a>| at.frame.args["consumer_tag"].as_str();
    let mut later = frames.iter().skip_while(|at| at.index <= consume.index);
    tag(consume).filter(|own| !own.is_empty()).or_else(|| {
        let answers = |at: &&At<'_>| {
            at.frame.method == Method::BasicConsumeOk && at.frame.same_channel(consume.frame)
        };
        later.find(answers).copied().and_then(tag)
    })
}

/// Whether the channel of this delivery was closed or opened again after it.
fn closed_since(frames: &[At<'_>], delivery: At<'_>) -> bool {
    let mut later = frames.iter().skip_while(|at| at.index <= delivery.index);
    later.any(|at| {
        at.frame.reopens(delivery.frame)
            || at.frame.method == Method::ChannelClose && at.frame.same_channel(delivery.frame)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use serde_json::{Value, json};

    use super::unacked_of;
    use proof::Scratch;
    use wiretap::{ConnectionEvent, Event, Frame, Journal, Method, Side};

    fn crosses(journal: &Journal, from: Side, method: Method, args: Value) {
        journal.record(Event::Amqp(Frame {
            service: "worker".to_owned(),
            connection: 1,
            from,
            channel: 1,
            method,
            args,
            message: None,
        }));
    }

    #[test]
    fn unacked_messages_are_counted_by_queue() {
        let scratch = Scratch::new("unacked");
        let journal = Journal::create(scratch.path(), "03", "unacked", 1).unwrap();
        let client = |method, args| crosses(&journal, Side::Client, method, args);
        let server = |method, args| crosses(&journal, Side::Server, method, args);
        let deliver = |tag: u64, consumer: &str| {
            let args = json!({"delivery_tag": tag, "consumer_tag": consumer});
            server(Method::BasicDeliver, args);
        };
        let unacked = || [unacked_of(&journal, "jobs"), unacked_of(&journal, "logs")];
        client(
            Method::BasicConsume,
            json!({"queue": "jobs", "consumer_tag": ""}),
        );
        server(Method::BasicConsumeOk, json!({"consumer_tag": "amq.1"}));
        client(
            Method::BasicConsume,
            json!({"queue": "logs", "consumer_tag": "mine"}),
        );
        assert_eq!(unacked(), [0, 0]);
        deliver(1, "amq.1");
        deliver(2, "mine");
        deliver(3, "amq.1");
        assert_eq!(unacked(), [2, 1]);
        client(Method::BasicAck, json!({"delivery_tag": 1}));
        assert_eq!(unacked(), [1, 1]);
        client(Method::ChannelClose, json!({}));
        assert_eq!(unacked(), [0, 0]);
        client(
            Method::BasicConsume,
            json!({"queue": "jobs", "consumer_tag": "two"}),
        );
        deliver(4, "two");
        assert_eq!(unacked(), [1, 0]);
        journal.record(Event::Connection {
            service: "worker".to_owned(),
            connection: 1,
            what: ConnectionEvent::Closed,
        });
        assert_eq!(unacked(), [0, 0]);
    }
}
