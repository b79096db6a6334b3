//! Each question on a small journal, recorded by hand.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use proof::Scratch;
use serde_json::{Value, json};

use wiretap::{ConnectionEvent, Event, Frame, Journal, Loss, Message, Method, Side};

const ROLE: &str = "history";

struct Story {
    journal: Journal,
    channel: u16,
    connection: u32,
    _scratch: Scratch,
}

impl Story {
    fn new() -> Self {
        let scratch = Scratch::new("questions");
        let journal = Journal::create(scratch.path(), "02", "questions", 1).unwrap();
        Self {
            journal,
            channel: 1,
            connection: 1,
            _scratch: scratch,
        }
    }

    fn frame(&self, from: Side, method: Method, args: Value, id: Option<&str>) -> &Self {
        self.journal.record(Event::Amqp(Frame {
            service: ROLE.to_owned(),
            connection: self.connection,
            from,
            channel: self.channel,
            method,
            args,
            message: id.map(|id| Message {
                id: Some(id.to_owned()),
                ..Message::default()
            }),
        }));
        self
    }

    fn client(&self, method: Method, args: Value) -> &Self {
        self.frame(Side::Client, method, args, None)
    }

    fn deliver(&self, tag: u64, id: &str) -> &Self {
        let args = json!({"delivery_tag": tag});
        self.frame(Side::Server, Method::BasicDeliver, args, Some(id))
    }

    fn ack(&self, tag: u64, multiple: bool) -> &Self {
        self.client(
            Method::BasicAck,
            json!({"delivery_tag": tag, "multiple": multiple}),
        )
    }

    fn acked(&self, id: &str) -> bool {
        self.journal.acked(ROLE, id)
    }

    fn connection(&self, connection: u32, what: ConnectionEvent) -> &Self {
        self.journal.record(Event::Connection {
            service: ROLE.to_owned(),
            connection,
            what,
        });
        self
    }
}

#[test]
fn an_ack_is_for_its_own_tag() {
    let story = Story::new();
    story.deliver(1, "a").deliver(2, "b").ack(2, false);
    assert!(!story.acked("a") && story.acked("b"));
    assert!(!story.journal.acked("another", "b"));
    assert!(!story.acked("unknown"));
}

#[test]
fn multiple_covers_what_came_before() {
    let story = Story::new();
    story
        .deliver(1, "a")
        .deliver(2, "b")
        .deliver(3, "c")
        .ack(2, true);
    assert!(story.acked("a") && story.acked("b") && !story.acked("c"));
    // Tag 0 with `multiple`: all that is outstanding.
    story.ack(0, true);
    assert!(story.acked("c"));
    assert_eq!(story.journal.settlement(ROLE, "c").unwrap().tag(), Some(0));
}

#[test]
fn tags_belong_to_a_channel() {
    let mut story = Story::new();
    story.deliver(1, "a");
    story.channel = 2;
    story.ack(1, true);
    assert!(!story.acked("a"));
    (story.channel, story.connection) = (1, 2);
    story.ack(1, true);
    assert!(!story.acked("a"));
    // The broker's own acks are confirms.
    story.connection = 1;
    story.frame(
        Side::Server,
        Method::BasicAck,
        json!({"delivery_tag": 1}),
        None,
    );
    assert!(!story.acked("a"));
}

/// A channel that is opened again under its number counts from 1 again.
#[test]
fn a_channel_opened_again_settles_nothing_of_before() {
    let story = Story::new();
    story.deliver(1, "a");
    story.frame(
        Side::Server,
        Method::ChannelClose,
        json!({"reply_code": 406}),
        None,
    );
    story.client(Method::ChannelCloseOk, json!({}));
    story.client(Method::ChannelOpen, json!({}));
    story.deliver(1, "b").ack(1, false);
    assert!(!story.acked("a") && story.acked("b"));
}

#[test]
fn the_last_delivery_counts() {
    let story = Story::new();
    let requeue = json!({"delivery_tag": 1, "requeue": true});
    story.deliver(1, "a").client(Method::BasicNack, requeue);
    assert!(!story.acked("a") && !story.journal.rejected(ROLE, "a"));
    story.deliver(2, "a");
    assert!(story.journal.settlement(ROLE, "a").is_none());
    story.client(
        Method::BasicReject,
        json!({"delivery_tag": 2, "requeue": false}),
    );
    assert!(story.journal.rejected(ROLE, "a") && !story.acked("a"));
    assert_eq!(story.journal.deliveries(ROLE, "a"), 2);
    assert_eq!(story.journal.deliveries("another", "a"), 0);
    story.deliver(3, "b").ack(3, false);
    assert!(!story.journal.rejected(ROLE, "b"));
}

#[test]
fn prefetch_is_what_was_asked_before_consuming() {
    let qos = |count: u16| json!({"prefetch_count": count, "global": false});
    let mut story = Story::new();
    story.client(Method::BasicQos, qos(5));
    assert_eq!(story.journal.prefetch(ROLE), None, "nothing is consumed");
    story.channel = 2;
    story
        .client(Method::BasicQos, qos(10))
        .client(Method::BasicQos, qos(20));
    story
        .client(Method::BasicConsume, json!({}))
        .client(Method::BasicQos, qos(30));
    assert_eq!(story.journal.prefetch(ROLE), Some(20));

    let story = Story::new();
    story
        .client(Method::BasicConsume, json!({}))
        .client(Method::BasicQos, qos(5));
    assert_eq!(story.journal.prefetch(ROLE), None, "too late");

    let story = Story::new();
    story
        .client(Method::BasicQos, qos(0))
        .client(Method::BasicConsume, json!({}));
    assert_eq!(story.journal.prefetch(ROLE), None, "0 is no limit");
}

#[test]
fn connections_are_counted_by_service() {
    let story = Story::new();
    let turned_away = ConnectionEvent::TurnedAway;
    story.connection(1, turned_away.clone());
    story.connection(2, turned_away.clone());
    story.connection(3, ConnectionEvent::Opened);
    assert_eq!(story.journal.connection_count(ROLE, &turned_away), 2);
    assert_eq!(story.journal.connection_count("another", &turned_away), 0);
    assert_eq!(story.journal.calls(ROLE).len(), 3);
    assert!(!story.journal.disconnected(ROLE));
    let reset = Loss::Trouble("Connection reset by peer".to_owned());
    story.connection(3, ConnectionEvent::Lost(reset));
    assert!(story.journal.disconnected(ROLE));
    assert!(!story.journal.disconnected("another"));
}

#[test]
fn in_hand_is_what_one_channel_has_not_settled() {
    let mut story = Story::new();
    let most = |story: &Story| story.journal.most_unacked(ROLE);
    assert_eq!(most(&story), 0);
    story.deliver(1, "a").ack(1, false).deliver(2, "b");
    assert_eq!(most(&story), 1);
    story.deliver(3, "c").ack(3, true).deliver(4, "d");
    assert_eq!(most(&story), 2);
    // What the channel held before it was opened anew is not unacked any more.
    story.client(Method::ChannelOpen, json!({}));
    story.deliver(1, "b").deliver(2, "c");
    assert_eq!(most(&story), 2);
    story.connection = 2;
    story.deliver(1, "b").deliver(2, "c");
    assert_eq!(most(&story), 2);
    story.deliver(3, "d");
    assert_eq!(most(&story), 3);
}

#[test]
fn a_delivery_is_the_last_one_of_its_message() {
    let story = Story::new();
    story.deliver(1, "a").deliver(2, "b").deliver(3, "a");
    let tag = |id| {
        story
            .journal
            .delivery(ROLE, id)
            .and_then(|frame| frame.tag())
    };
    assert_eq!((tag("a"), tag("b"), tag("c")), (Some(3), Some(2), None));
}
