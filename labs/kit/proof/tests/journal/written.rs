//! Every kind of event, as it stands in the file.

use std::time::Duration;

use process::{Change, Exit};
use serde_json::{Value, json};
use wiretap::{
    CheckEvent, ConnectionEvent, Ending, Entry, Event, Frame, HttpLine, LinkEvent, Loss, Message,
    Method, Side,
};

fn frame(method: Method, args: Value, message: Option<Message>) -> Frame {
    Frame {
        service: "web".to_owned(),
        connection: u32::MAX,
        from: Side::Client,
        channel: u16::MAX,
        method,
        args,
        message,
    }
}

/// The line of such an entry has these fields, and reading it gives the entry.
fn stands_as(event: Event, mut fields: Value) {
    let t = 0.000_001;
    let entry = Entry { t, event };
    fields["t"] = json!(t);
    let line = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), fields);
    assert_eq!(
        serde_json::from_str::<Entry>(&line).unwrap(),
        entry,
        "{line}"
    );
}

#[test]
fn a_frame() {
    let args = json!({"delivery_tag": u64::MAX, "low": i64::MIN, "half": 0.5, "none": null});
    let event = |message| Event::Amqp(frame(Method::BasicAck, args.clone(), message));
    let mut fields = json!({"event": "amqp", "service": "web", "connection": u32::MAX,
        "from": "client", "channel": u16::MAX, "method": "basic.ack", "args": args});
    stands_as(event(None), fields.clone());
    let mut message = Message {
        id: Some("one".to_owned()),
        size: u64::MAX,
        body: "\u{0}\u{7f}\n\"ä".to_owned(),
        ..Message::default()
    };
    fields["message"] = json!({"id": "one", "content_type": null, "persistent": false,
        "correlation_id": null, "reply_to": null, "size": u64::MAX, "body": "\u{0}\u{7f}\n\"ä"});
    stands_as(event(Some(message.clone())), fields.clone());
    message.expiration = Some("100".to_owned());
    fields["message"]["expiration"] = json!("100");
    // The fields of an entry stand beside each other; these are deeper.
    message.headers = json!({"x-death": [{"count": 1}], "event": "link", "t": 2});
    fields["message"]["headers"] = message.headers.clone();
    stands_as(event(Some(message)), fields);
}

#[test]
fn each_method_by_its_name() {
    for &method in Method::ALL {
        let name = json!(method.name());
        assert_eq!(json!(method), name);
        assert_eq!(serde_json::from_value::<Method>(name).unwrap(), method);
    }
}

#[test]
fn http() {
    let request = HttpLine::Request {
        method: "POST".to_owned(),
        path: "/viewed".to_owned(),
    };
    let response = HttpLine::Response {
        status: 200,
        reason: "OK".to_owned(),
    };
    for (line, stands) in [
        (
            request,
            json!({"request": {"method": "POST", "path": "/viewed"}}),
        ),
        (
            response,
            json!({"response": {"status": 200, "reason": "OK"}}),
        ),
    ] {
        let (service, body) = ("web".to_owned(), "{}".to_owned());
        let connection = 1;
        let event = Event::Http {
            service,
            connection,
            line,
            body,
        };
        let fields = json!({"event": "http", "service": "web", "connection": 1, "line": stands,
            "body": "{}"});
        stands_as(event, fields);
    }
}

#[test]
fn a_change_of_a_service() {
    for (what, stands) in [
        (Change::Started, json!("started")),
        (Change::Killed, json!("killed")),
        (Change::Frozen, json!("frozen")),
        (Change::Thawed, json!("thawed")),
        (Change::Terminated, json!("terminated")),
        (
            Change::Ended(Exit::Code(-1)),
            json!({"ended": {"code": -1}}),
        ),
        (
            Change::Ended(Exit::Signal(9)),
            json!({"ended": {"signal": 9}}),
        ),
    ] {
        let service = "web".to_owned();
        let fields = json!({"event": "service", "service": "web", "what": stands});
        stands_as(Event::Service { service, what }, fields);
    }
}

#[test]
fn a_fault_of_a_link() {
    let delay = Duration::new(1, 2);
    for (what, stands) in [
        (LinkEvent::Cut, json!("cut")),
        (LinkEvent::Refuses, json!("refuses")),
        (LinkEvent::TurnsAway, json!("turns-away")),
        (
            LinkEvent::Delayed(delay),
            json!({"delayed": {"secs": 1, "nanos": 2}}),
        ),
        (
            LinkEvent::Swallows(Side::Client),
            json!({"swallows": "client"}),
        ),
        (
            LinkEvent::HalfCloses(Side::Server),
            json!({"half-closes": "server"}),
        ),
        (LinkEvent::Restored, json!("restored")),
    ] {
        let service = "web".to_owned();
        let fields = json!({"event": "link", "service": "web", "what": stands});
        stands_as(Event::Link { service, what }, fields);
    }
}

#[test]
fn a_connection() {
    use ConnectionEvent::{Closed, CutBefore, HeldBack, Lost, Opened, TurnedAway, Unreadable};
    for (what, stands) in [
        (Opened, json!("opened")),
        (TurnedAway, json!("turned-away")),
        (
            CutBefore(Method::BasicAck),
            json!({"cut-before": "basic.ack"}),
        ),
        (
            HeldBack(Method::TxSelectOk),
            json!({"held-back": "tx.select-ok"}),
        ),
        (Unreadable, json!("unreadable")),
        (Closed, json!("closed")),
        (
            Lost(Loss::ClosedByCheck),
            json!({"lost": "closed-by-check"}),
        ),
        (Lost(Loss::CutByCheck), json!({"lost": "cut-by-check"})),
        (Lost(Loss::ResponseLost), json!({"lost": "response-lost"})),
        (Lost(Loss::HungUp), json!({"lost": "hung-up"})),
        (
            Lost(Loss::Trouble("why".to_owned())),
            json!({"lost": {"trouble": "why"}}),
        ),
    ] {
        let (service, connection) = ("web".to_owned(), 7);
        let fields =
            json!({"event": "connection", "service": "web", "connection": 7, "what": stands});
        stands_as(
            Event::Connection {
                service,
                connection,
                what,
            },
            fields,
        );
    }
}

#[test]
fn an_act_of_the_check() {
    use CheckEvent::{
        BrokerBack, BrokerKilled, Note, Published, QueueBound, QueueDeclared, QueueDeleted,
    };
    let args = json!({"queue": "viewed"});
    let declare = frame(Method::QueueDeclare, args.clone(), None);
    let stands = json!({"service": "web", "connection": u32::MAX, "from": "client",
        "channel": u16::MAX, "method": "queue.declare", "args": args});
    for (what, stands) in [
        (BrokerKilled, json!("broker-killed")),
        (BrokerBack, json!("broker-back")),
        (Published(declare.clone()), json!({"published": stands})),
        (QueueBound(declare.clone()), json!({"queue-bound": stands})),
        (QueueDeclared(declare), json!({"queue-declared": stands})),
        (
            QueueDeleted("viewed".to_owned()),
            json!({"queue-deleted": "viewed"}),
        ),
        (Note("so".to_owned()), json!({"note": "so"})),
    ] {
        stands_as(
            Event::Check { what },
            json!({"event": "check", "what": stands}),
        );
    }
}

#[test]
fn a_verdict() {
    let failed = Ending::Failed {
        expected: "one".to_owned(),
        observed: "two".to_owned(),
    };
    let fields = json!({"failed": {"expected": "one", "observed": "two"}});
    for (ending, stands) in [
        (Ending::Passed, json!("passed")),
        (failed, fields),
        (
            Ending::Unknown("busy".to_owned()),
            json!({"unknown": "busy"}),
        ),
    ] {
        let says = "nothing is lost".to_owned();
        stands_as(
            Event::Verdict { says, ending },
            json!({"event": "verdict", "says": "nothing is lost", "ending": stands}),
        );
    }
}
