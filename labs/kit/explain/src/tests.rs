//! The finding for each way in which a message can be lost.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use serde_json::{Value, json};

use super::{Finding, Topic, fate, fate_at};
use proof::Scratch;
use wiretap::{CheckEvent, ConnectionEvent, Event, Frame, Journal, Message, Method, Side};

const ID: &str = "0123456789abcdef";
const PRODUCER: &str = "video-streaming";
const CONSUMER: &str = "history";

struct Scenario {
    journal: Journal,
    persistent: bool,
    _scratch: Scratch,
}

impl Scenario {
    fn new() -> Self {
        let scratch = Scratch::new("fate");
        let journal = Journal::create(scratch.path(), "02", "fate", 1).unwrap();
        Self {
            journal,
            persistent: true,
            _scratch: scratch,
        }
    }

    fn frame(
        &self,
        service: &str,
        from: Side,
        method: Method,
        args: Value,
        id: Option<&str>,
    ) -> &Self {
        self.journal.record(Event::Amqp(Frame {
            service: service.to_owned(),
            connection: 1,
            from,
            channel: 1,
            method,
            args,
            message: id.map(|id| Message {
                id: Some(id.to_owned()),
                persistent: self.persistent,
                ..Message::default()
            }),
        }));
        self
    }

    fn broker_dies(&self) {
        let what = CheckEvent::BrokerKilled;
        self.journal.record(Event::Check { what });
    }

    fn confirm_mode(&self) -> &Self {
        self.frame(
            PRODUCER,
            Side::Client,
            Method::ConfirmSelect,
            json!({}),
            None,
        )
    }

    fn declare(&self, args: Value) -> &Self {
        self.frame(PRODUCER, Side::Client, Method::QueueDeclare, args, None)
    }

    fn publish(&self, id: &str) -> &Self {
        let args = json!({"exchange": "", "routing_key": "viewed"});
        self.frame(PRODUCER, Side::Client, Method::BasicPublish, args, Some(id))
    }

    fn publish_to(&self, exchange: &str, key: &str) -> &Self {
        let args = json!({"exchange": exchange, "routing_key": key});
        self.frame(PRODUCER, Side::Client, Method::BasicPublish, args, Some(ID))
    }

    fn confirm(&self, tag: u64, multiple: bool) -> &Self {
        let args = json!({"delivery_tag": tag, "multiple": multiple});
        self.frame(PRODUCER, Side::Server, Method::BasicAck, args, None)
    }

    fn returned(&self, id: &str) -> &Self {
        let args = json!({"reply_code": 312});
        self.frame(PRODUCER, Side::Server, Method::BasicReturn, args, Some(id))
    }

    fn consume(&self, no_ack: bool) -> &Self {
        let args = json!({"queue": "viewed", "no_ack": no_ack});
        self.frame(CONSUMER, Side::Client, Method::BasicConsume, args, None)
    }

    fn deliver(&self, tag: u64) -> &Self {
        let args = json!({"delivery_tag": tag});
        self.frame(CONSUMER, Side::Server, Method::BasicDeliver, args, Some(ID))
    }

    fn settle(&self, method: Method, tag: u64, requeue: bool) -> &Self {
        let args = json!({"delivery_tag": tag, "requeue": requeue});
        self.frame(CONSUMER, Side::Client, method, args, None)
    }

    fn finding(&self) -> Finding {
        fate(&self.journal, ID)
    }

    #[track_caller]
    fn finds(&self, topic: Topic, words: &[&str]) {
        let finding = self.finding();
        assert_eq!(finding.topic, topic, "{finding:?}");
        for words in words {
            assert!(finding.observed.contains(words), "{words} in {finding:?}");
        }
        assert!(!finding.why.is_empty());
    }
}

#[test]
fn never_published() {
    let scenario = Scenario::new();
    scenario.finds(Topic::Publish, &["no basic.publish", "message_id 01234567"]);
    scenario.publish("another");
    scenario.finds(Topic::Publish, &["no basic.publish"]);
}

#[test]
fn published_without_confirm_mode() {
    let scenario = Scenario::new();
    scenario.publish(ID).confirm_mode();
    scenario.finds(
        Topic::Confirm,
        &["01234567 was published to `", "no confirm.select"],
    );
}

#[test]
fn published_and_never_confirmed() {
    let scenario = Scenario::new();
    scenario.confirm_mode().publish(ID);
    scenario.finds(Topic::Publish, &["never confirmed", "no basic.ack"]);
}

/// A confirm of another message does not confirm this one.
#[test]
fn confirms_are_counted() {
    let scenario = Scenario::new();
    scenario
        .confirm_mode()
        .publish("first")
        .publish(ID)
        .publish("third");
    scenario.confirm(1, false).confirm(3, false);
    scenario.finds(Topic::Publish, &["never confirmed"]);
    scenario.confirm(2, false);
    scenario.finds(
        Topic::Consume,
        &["confirmed; no consumer got it from the queue"],
    );

    let scenario = Scenario::new();
    scenario
        .publish("before confirm mode")
        .confirm_mode()
        .publish("first")
        .publish(ID);
    scenario.confirm(1, true);
    scenario.finds(Topic::Publish, &["never confirmed"]);
    scenario.confirm(2, true);
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);
}

#[test]
fn returned_as_unroutable() {
    let scenario = Scenario::new();
    scenario
        .confirm_mode()
        .publish(ID)
        .returned(ID)
        .confirm(1, false);
    scenario.finds(Topic::Routing, &["returned as unroutable (basic.return)"]);
}

/// At a named exchange a routing key is not a queue name, and several consumers may get a copy.
#[test]
fn through_a_named_exchange() {
    let scenario = Scenario::new();
    let args = json!({"queue": "log.debug", "durable": false});
    scenario
        .declare(args)
        .confirm_mode()
        .publish_to("logs", "log.debug");
    scenario.returned(ID).confirm(1, false);
    let words = "published to exchange `logs` with key `log.debug` at";
    scenario.finds(
        Topic::Routing,
        &[words, "returned as unroutable (basic.return)"],
    );
    assert!(scenario.finding().why.contains("stores nothing"));

    scenario.publish_to("logs", "log.debug").confirm(2, false);
    scenario.broker_dies();
    scenario.finds(Topic::Routing, &[words, "confirmed; no consumer got it"]);
    scenario
        .consume(false)
        .deliver(1)
        .settle(Method::BasicAck, 1, false);
    scenario.finds(Topic::Settle, &["history got 01234567"]);
    let other = fate_at(&scenario.journal, ID, "archive");
    assert_eq!(other.topic, Topic::Routing);
    assert!(other.observed.ends_with("confirmed; archive never got it"));
}

/// The last publish counts: the broker returned the first one, and not the second.
#[test]
fn returned_and_published_again() {
    let scenario = Scenario::new();
    scenario
        .confirm_mode()
        .publish(ID)
        .returned(ID)
        .confirm(1, false);
    scenario.publish(ID).confirm(2, false);
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);
}

#[test]
fn transient_when_the_broker_died() {
    let mut scenario = Scenario::new();
    scenario.persistent = false;
    scenario.confirm_mode().publish(ID).confirm(1, false);
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);
    scenario.broker_dies();
    scenario.finds(Topic::Publish, &["transient (delivery_mode 1)"]);
}

#[test]
fn in_a_queue_that_was_not_durable_when_the_broker_died() {
    let durable = |durable| json!({"queue": "viewed", "durable": durable, "passive": false});
    let scenario = Scenario::new();
    scenario
        .declare(durable(true))
        .declare(json!({"queue": "other", "durable": false}));
    // A passive declare asks whether the queue exists, whatever its arguments.
    scenario.declare(json!({"queue": "viewed", "durable": false, "passive": true}));
    scenario.confirm_mode().publish(ID).confirm(1, false);
    scenario.broker_dies();
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);

    let scenario = Scenario::new();
    scenario
        .declare(durable(false))
        .confirm_mode()
        .publish(ID)
        .confirm(1, false);
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);
    scenario.broker_dies();
    scenario.finds(Topic::Durability, &["not durable", "the broker died"]);
}

#[test]
fn delivered_with_no_ack() {
    let scenario = Scenario::new();
    scenario.confirm_mode().publish(ID).confirm(1, false);
    scenario.consume(true).deliver(1);
    scenario.finds(
        Topic::NoAck,
        &["history got 01234567", "no_ack (basic.consume #1)"],
    );

    let scenario = Scenario::new();
    scenario.consume(false).consume(true).deliver(1);
    scenario.finds(Topic::NoAck, &["basic.consume #2"]);
}

#[test]
fn acked_without_effect() {
    let scenario = Scenario::new();
    scenario
        .consume(false)
        .deliver(1)
        .settle(Method::BasicAck, 1, false);
    scenario.finds(
        Topic::Settle,
        &["acked it at", "(basic.ack), yet its effect is missing"],
    );
}

#[test]
fn discarded_or_requeued() {
    for (method, requeue, words) in [
        (
            Method::BasicReject,
            false,
            "discarded it (basic.reject, requeue false)",
        ),
        (
            Method::BasicNack,
            false,
            "discarded it (basic.nack, requeue false)",
        ),
        (
            Method::BasicNack,
            true,
            "requeued it (basic.nack, requeue true)",
        ),
    ] {
        let scenario = Scenario::new();
        scenario
            .consume(false)
            .deliver(1)
            .settle(method, 1, requeue);
        scenario.finds(Topic::Settle, &[words]);
    }
}

#[test]
fn kept_unacked() {
    let scenario = Scenario::new();
    scenario
        .consume(false)
        .deliver(1)
        .settle(Method::BasicAck, 2, false);
    scenario.finds(Topic::Settle, &["neither recorded nor acked it"]);
    // Redelivered: the last delivery counts.
    scenario.settle(Method::BasicNack, 1, true).deliver(3);
    scenario.finds(Topic::Settle, &["neither recorded nor acked it"]);
}

/// On a reopened channel delivery tags start at 1 again, so this ack is for another delivery.
#[test]
fn kept_unacked_when_the_channel_closed() {
    let scenario = Scenario::new();
    scenario.consume(false).deliver(1);
    scenario.frame(CONSUMER, Side::Client, Method::ChannelOpen, json!({}), None);
    scenario.settle(Method::BasicAck, 1, false);
    scenario.finds(Topic::Settle, &["neither recorded nor acked it"]);
}

/// A consumer at its prefetch limit blocks the messages that wait in its queue.
#[test]
fn behind_unacked_messages() {
    let scenario = Scenario::new();
    scenario
        .consume(false)
        .confirm_mode()
        .publish("first")
        .publish(ID);
    scenario.confirm(2, true);
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);
    let first = json!({"delivery_tag": 1});
    scenario.frame(
        CONSUMER,
        Side::Server,
        Method::BasicDeliver,
        first,
        Some("first"),
    );
    scenario.finds(Topic::Settle, &["behind unacked messages: 1 at history"]);
    scenario.settle(Method::BasicAck, 1, false);
    scenario.finds(Topic::Consume, &["no consumer got it from the queue"]);
}

/// At a named exchange, messages with the same route show which queue it is.
#[test]
fn behind_unacked_messages_of_a_named_exchange() {
    let scenario = Scenario::new();
    let way = json!({"exchange": "messages", "routing_key": "messages", "delivery_tag": 1});
    scenario.consume(false).confirm_mode();
    for id in ["first", ID] {
        let publish = (Method::BasicPublish, way.clone());
        scenario.frame(PRODUCER, Side::Client, publish.0, publish.1, Some(id));
    }
    scenario.confirm(2, true);
    scenario.finds(Topic::Routing, &["no consumer got it"]);
    scenario.frame(
        CONSUMER,
        Side::Server,
        Method::BasicDeliver,
        way,
        Some("first"),
    );
    scenario.finds(Topic::Settle, &["behind unacked messages: 1 at history"]);
    scenario.settle(Method::BasicAck, 1, false);
    scenario.finds(Topic::Routing, &["no consumer got it"]);
}

/// It also blocks the messages that a dead consumer left unacked.
#[test]
fn left_unacked_behind_unacked_messages() {
    let scenario = Scenario::new();
    scenario
        .publish("first")
        .publish(ID)
        .consume(false)
        .deliver(1);
    scenario.journal.record(Event::Connection {
        service: CONSUMER.to_owned(),
        connection: 1,
        what: ConnectionEvent::Closed,
    });
    scenario.finds(Topic::Consume, &["no consumer got the message again"]);
    let args = json!({"queue": "viewed", "no_ack": false});
    scenario.frame("grace", Side::Client, Method::BasicConsume, args, None);
    let first = json!({"delivery_tag": 1});
    scenario.frame(
        "grace",
        Side::Server,
        Method::BasicDeliver,
        first,
        Some("first"),
    );
    let words = ["left it unacked; it waits in its queue behind unacked messages: 1 at grace"];
    scenario.finds(Topic::Settle, &words);
}
