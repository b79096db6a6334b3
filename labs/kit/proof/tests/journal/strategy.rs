//! Entries as no lesson has them: any text, any number, any nesting.

use std::time::Duration;

use process::{Change, Exit};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use wiretap::{
    CheckEvent, ConnectionEvent, Ending, Entry, Event, Frame, HttpLine, LinkEvent, Loss, Message,
    Method, Side,
};

/// Up to `most` entries, in the order of their times.
pub fn entries(most: usize) -> impl Strategy<Value = Vec<Entry>> {
    // In microseconds, as the journal writes them.
    let entry = (0..10_000_000_000_u64, event());
    vec(entry, 0..=most).prop_map(|mut entries| {
        entries.sort_by_key(|(micros, _)| *micros);
        let entries = entries.into_iter();
        let entry = |(micros, event)| Entry {
            t: micros as f64 / 1e6,
            event,
        };
        entries.map(entry).collect()
    })
}

fn event() -> impl Strategy<Value = Event> {
    let text = any::<String>;
    prop_oneof![
        4 => frame().prop_map(Event::Amqp),
        1 => (text(), any::<u32>(), line(), text()).prop_map(|(service, connection, line, body)| {
            Event::Http { service, connection, line, body }
        }),
        1 => (text(), change()).prop_map(|(service, what)| Event::Service { service, what }),
        1 => (text(), link_event()).prop_map(|(service, what)| Event::Link { service, what }),
        1 => (text(), any::<u32>(), connection_event()).prop_map(|(service, connection, what)| {
            Event::Connection { service, connection, what }
        }),
        1 => check_event().prop_map(|what| Event::Check { what }),
        1 => (text(), ending()).prop_map(|(says, ending)| Event::Verdict { says, ending }),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        Just(Ending::Passed),
        any::<(String, String)>()
            .prop_map(|(expected, observed)| Ending::Failed { expected, observed }),
        any::<String>().prop_map(Ending::Unknown),
    ]
}

fn line() -> impl Strategy<Value = HttpLine> {
    prop_oneof![
        any::<(String, String)>().prop_map(|(method, path)| HttpLine::Request { method, path }),
        any::<(u16, String)>().prop_map(|(status, reason)| HttpLine::Response { status, reason }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    use Change::{Ended, Frozen, Killed, Started, Terminated, Thawed};
    prop_oneof![
        select(vec![Started, Killed, Frozen, Thawed, Terminated]),
        any::<i32>().prop_map(|code| Ended(Exit::Code(code))),
        any::<i32>().prop_map(|signal| Ended(Exit::Signal(signal))),
    ]
}

fn link_event() -> impl Strategy<Value = LinkEvent> {
    use LinkEvent::{Cut, Delayed, HalfCloses, Refuses, Restored, Swallows, TurnsAway};
    prop_oneof![
        select(vec![Cut, Refuses, TurnsAway, Restored]),
        any::<Duration>().prop_map(Delayed),
        side().prop_map(Swallows),
        side().prop_map(HalfCloses),
    ]
}

fn connection_event() -> impl Strategy<Value = ConnectionEvent> {
    use ConnectionEvent::{Closed, CutBefore, HeldBack, Lost, Opened, TurnedAway, Unreadable};
    use Loss::{ClosedByCheck, CutByCheck, HungUp, ResponseLost, Trouble};
    prop_oneof![
        select(vec![Opened, TurnedAway, Unreadable, Closed]),
        method().prop_map(CutBefore),
        method().prop_map(HeldBack),
        select(vec![ClosedByCheck, CutByCheck, HungUp, ResponseLost]).prop_map(Lost),
        any::<String>().prop_map(|why| Lost(Trouble(why))),
    ]
}

fn check_event() -> impl Strategy<Value = CheckEvent> {
    use CheckEvent::{
        BrokerBack, BrokerKilled, Note, Published, QueueBound, QueueDeclared, QueueDeleted,
    };
    prop_oneof![
        select(vec![BrokerKilled, BrokerBack]),
        frame().prop_map(Published),
        frame().prop_map(QueueDeclared),
        frame().prop_map(QueueBound),
        any::<String>().prop_map(QueueDeleted),
        any::<String>().prop_map(Note),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let place = (any::<String>(), any::<u32>(), side(), any::<u16>());
    let what = (method(), value(), option::of(message()));
    (place, what).prop_map(
        |((service, connection, from, channel), (method, args, message))| Frame {
            service,
            connection,
            from,
            channel,
            method,
            args,
            message,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let rest = (any::<bool>(), value(), any::<u64>(), any::<String>());
    (any::<[Option<String>; 5]>(), rest).prop_map(|(texts, (persistent, headers, size, body))| {
        let [id, content_type, correlation_id, reply_to, expiration] = texts;
        Message {
            id,
            content_type,
            persistent,
            correlation_id,
            reply_to,
            expiration,
            headers,
            size,
            body,
        }
    })
}

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Client, Side::Server])
}

fn method() -> impl Strategy<Value = Method> {
    select(Method::ALL)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Few digits: without its feature `float_roundtrip`, serde_json may miss the last bit of many.
        any::<i32>().prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}
