//! What is said of a message, for each way in which it can be lost.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use serde_json::{Value, json};

use super::{Finding, Topic, fate, fate_at};
use proof::Scratch;
use wiretap::{CheckEvent, ConnectionEvent, Event, Frame, Journal, Message, Method, Side};

const ID: &str = "0123456789abcdef";
const PRODUCER: &str = "video-streaming";
const CONSUMER: &str = "history";

struct Story {
    journal: Journal,
    persistent: bool,
    _scratch: Scratch,
}

impl Story {
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
    fn tells(&self, topic: Topic, words: &[&str]) {
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
    let story = Story::new();
    story.tells(Topic::Publish, &["no basic.publish", "message_id 01234567"]);
    story.publish("another");
    story.tells(Topic::Publish, &["no basic.publish"]);
}

#[test]
fn published_without_confirm_mode() {
    let story = Story::new();
    story.publish(ID).confirm_mode();
    story.tells(
        Topic::Confirm,
        &["01234567 was published to `", "no confirm.select"],
    );
}

#[test]
fn published_and_never_confirmed() {
    let story = Story::new();
    story.confirm_mode().publish(ID);
    story.tells(Topic::Publish, &["never confirmed", "no basic.ack"]);
}

/// The confirm of another message is not this one's.
#[test]
fn confirms_are_counted() {
    let story = Story::new();
    story
        .confirm_mode()
        .publish("first")
        .publish(ID)
        .publish("third");
    story.confirm(1, false).confirm(3, false);
    story.tells(Topic::Publish, &["never confirmed"]);
    story.confirm(2, false);
    story.tells(Topic::Consume, &["confirmed; nobody took it"]);

    let story = Story::new();
    story
        .publish("before confirm mode")
        .confirm_mode()
        .publish("first")
        .publish(ID);
    story.confirm(1, true);
    story.tells(Topic::Publish, &["never confirmed"]);
    story.confirm(2, true);
    story.tells(Topic::Consume, &["nobody took it"]);
}

#[test]
fn returned_to_its_sender() {
    let story = Story::new();
    story
        .confirm_mode()
        .publish(ID)
        .returned(ID)
        .confirm(1, false);
    story.tells(Topic::Routing, &["came back (basic.return)"]);
}

/// A routing key is no queue's name there, and several consumers may get a copy each.
#[test]
fn over_an_exchange_with_a_name() {
    let story = Story::new();
    let args = json!({"queue": "log.debug", "durable": false});
    story
        .declare(args)
        .confirm_mode()
        .publish_to("logs", "log.debug");
    story.returned(ID).confirm(1, false);
    let words = "published to exchange `logs` with key `log.debug` at";
    story.tells(Topic::Routing, &[words, "came back (basic.return)"]);
    assert!(story.finding().why.contains("remembers nothing"));

    story.publish_to("logs", "log.debug").confirm(2, false);
    story.broker_dies();
    story.tells(Topic::Routing, &[words, "confirmed; nobody got it"]);
    story
        .consume(false)
        .deliver(1)
        .settle(Method::BasicAck, 1, false);
    story.tells(Topic::Settle, &["history got 01234567"]);
    let other = fate_at(&story.journal, ID, "archive");
    assert_eq!(other.topic, Topic::Routing);
    assert!(other.observed.ends_with("confirmed; archive never got it"));
}

/// What became of the last try counts: the one before was returned, this one was not.
#[test]
fn returned_and_published_again() {
    let story = Story::new();
    story
        .confirm_mode()
        .publish(ID)
        .returned(ID)
        .confirm(1, false);
    story.publish(ID).confirm(2, false);
    story.tells(Topic::Consume, &["nobody took it"]);
}

#[test]
fn transient_when_the_broker_died() {
    let mut story = Story::new();
    story.persistent = false;
    story.confirm_mode().publish(ID).confirm(1, false);
    story.tells(Topic::Consume, &["nobody took it"]);
    story.broker_dies();
    story.tells(Topic::Publish, &["transient (delivery_mode 1)"]);
}

#[test]
fn in_a_fleeting_queue_when_the_broker_died() {
    let durable = |durable| json!({"queue": "viewed", "durable": durable, "passive": false});
    let story = Story::new();
    story
        .declare(durable(true))
        .declare(json!({"queue": "other", "durable": false}));
    // A passive declare asks whether the queue is there and says nothing of how.
    story.declare(json!({"queue": "viewed", "durable": false, "passive": true}));
    story.confirm_mode().publish(ID).confirm(1, false);
    story.broker_dies();
    story.tells(Topic::Consume, &["nobody took it"]);

    let story = Story::new();
    story
        .declare(durable(false))
        .confirm_mode()
        .publish(ID)
        .confirm(1, false);
    story.tells(Topic::Consume, &["nobody took it"]);
    story.broker_dies();
    story.tells(Topic::Durability, &["not durable", "the broker died"]);
}

#[test]
fn handed_over_without_ack() {
    let story = Story::new();
    story.confirm_mode().publish(ID).confirm(1, false);
    story.consume(true).deliver(1);
    story.tells(
        Topic::NoAck,
        &["history got 01234567", "no_ack (basic.consume #1)"],
    );

    let story = Story::new();
    story.consume(false).consume(true).deliver(1);
    story.tells(Topic::NoAck, &["basic.consume #2"]);
}

#[test]
fn acked_and_not_there() {
    let story = Story::new();
    story
        .consume(false)
        .deliver(1)
        .settle(Method::BasicAck, 1, false);
    story.tells(
        Topic::Settle,
        &["acked it at", "(basic.ack), yet it is not there"],
    );
}

#[test]
fn thrown_away_or_given_back() {
    for (method, requeue, words) in [
        (
            Method::BasicReject,
            false,
            "threw it away (basic.reject, requeue false)",
        ),
        (
            Method::BasicNack,
            false,
            "threw it away (basic.nack, requeue false)",
        ),
        (
            Method::BasicNack,
            true,
            "gave it back (basic.nack, requeue true)",
        ),
    ] {
        let story = Story::new();
        story.consume(false).deliver(1).settle(method, 1, requeue);
        story.tells(Topic::Settle, &[words]);
    }
}

#[test]
fn kept_in_hand() {
    let story = Story::new();
    story
        .consume(false)
        .deliver(1)
        .settle(Method::BasicAck, 2, false);
    story.tells(Topic::Settle, &["neither recorded nor settled it"]);
    // Delivered again after it had been acked: the last delivery counts.
    story.settle(Method::BasicNack, 1, true).deliver(3);
    story.tells(Topic::Settle, &["neither recorded nor settled it"]);
}

/// Tags count from 1 again on a channel that is opened again: that ack is another's.
#[test]
fn kept_when_the_channel_closed() {
    let story = Story::new();
    story.consume(false).deliver(1);
    story.frame(CONSUMER, Side::Client, Method::ChannelOpen, json!({}), None);
    story.settle(Method::BasicAck, 1, false);
    story.tells(Topic::Settle, &["neither recorded nor settled it"]);
}

/// A consumer whose prefetch is full holds up all that waits behind it.
#[test]
fn behind_what_is_never_settled() {
    let story = Story::new();
    story
        .consume(false)
        .confirm_mode()
        .publish("first")
        .publish(ID);
    story.confirm(2, true);
    story.tells(Topic::Consume, &["nobody took it"]);
    let first = json!({"delivery_tag": 1});
    story.frame(
        CONSUMER,
        Side::Server,
        Method::BasicDeliver,
        first,
        Some("first"),
    );
    story.tells(Topic::Settle, &["unacked meanwhile: 1 with history"]);
    story.settle(Method::BasicAck, 1, false);
    story.tells(Topic::Consume, &["nobody took it"]);
}

/// Behind a named exchange, too, where what came the same way tells which queue it is.
#[test]
fn behind_what_is_never_settled_of_an_exchange() {
    let story = Story::new();
    let way = json!({"exchange": "messages", "routing_key": "messages", "delivery_tag": 1});
    story.consume(false).confirm_mode();
    for id in ["first", ID] {
        let publish = (Method::BasicPublish, way.clone());
        story.frame(PRODUCER, Side::Client, publish.0, publish.1, Some(id));
    }
    story.confirm(2, true);
    story.tells(Topic::Routing, &["nobody got it"]);
    story.frame(
        CONSUMER,
        Side::Server,
        Method::BasicDeliver,
        way,
        Some("first"),
    );
    story.tells(Topic::Settle, &["unacked meanwhile: 1 with history"]);
    story.settle(Method::BasicAck, 1, false);
    story.tells(Topic::Routing, &["nobody got it"]);
}

/// So it does what a dead consumer has left.
#[test]
fn left_behind_what_is_never_settled() {
    let story = Story::new();
    story.publish("first").publish(ID).consume(false).deliver(1);
    story.journal.record(Event::Connection {
        service: CONSUMER.to_owned(),
        connection: 1,
        what: ConnectionEvent::Closed,
    });
    story.tells(Topic::Consume, &["nobody got it again"]);
    let args = json!({"queue": "viewed", "no_ack": false});
    story.frame("grace", Side::Client, Method::BasicConsume, args, None);
    let first = json!({"delivery_tag": 1});
    story.frame(
        "grace",
        Side::Server,
        Method::BasicDeliver,
        first,
        Some("first"),
    );
    let words = ["left it; it waits, unacked meanwhile: 1 with grace"];
    story.tells(Topic::Settle, &words);
}
