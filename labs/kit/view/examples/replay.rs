//! Prints the replay of a journal, or of a run made up for tests:
//! `cargo run -p view --example replay -- [JOURNAL | MESSAGES]`.
//!
//! `shop` publishes messages to `sales`, which routes them to the queue of `payment`. After the third
//! delivery `payment` is killed with three messages unacked; then its successor gets them again. All
//! that a program chooses is hostile: names, keys, bodies and the verdict have markup in them. With a
//! number, `shop` publishes so many messages more.

use std::path::Path;

use process::Change;
use serde_json::{Value, json};
use view::{Caption, replay, story};
use wiretap::journal::{self, Recorded};
use wiretap::{
    CheckEvent, ConnectionEvent, Ending, Entry, Event, Frame, Loss, Message, Method, Side,
};

/// What must stay text.
const HOSTILE: &str =
    "</script><img src=http://127.0.0.1:9/x onerror=document.title='owned'><!--\u{2028}";

#[derive(Default)]
struct Run(Vec<Entry>);

impl Run {
    /// Each entry comes 0.1 s after the one before.
    fn add(&mut self, event: Event) {
        let t = (self.0.len() + 1) as f64 / 10.0;
        self.0.push(Entry { t, event });
    }

    fn service(&mut self, service: &str, what: Change) {
        let service = service.to_owned();
        self.add(Event::Service { service, what });
    }

    fn connection(&mut self, (service, connection): (&str, u32), what: ConnectionEvent) {
        let service = service.to_owned();
        self.add(Event::Connection {
            service,
            connection,
            what,
        });
    }

    fn frame(
        &mut self,
        (service, connection): (&str, u32),
        from: Side,
        method: Method,
        args: Value,
        id: Option<&str>,
    ) {
        self.add(Event::Amqp(Frame {
            service: service.to_owned(),
            connection,
            from,
            channel: 1,
            method,
            args,
            message: id.map(message),
        }));
    }

    fn publish(&mut self, id: &str) {
        let args = json!({"exchange": "sales", "routing_key": key(id), "mandatory": true});
        self.frame(
            ("shop", 1),
            Side::Client,
            Method::BasicPublish,
            args,
            Some(id),
        );
    }

    /// `payment` connects, consumes, and starts.
    fn payment(&mut self, connection: u32) {
        let own = ("payment", connection);
        self.service("payment", Change::Started);
        self.connection(own, ConnectionEvent::Opened);
        let queue = json!({"queue": "sales.payment", "durable": true});
        self.frame(own, Side::Client, Method::QueueDeclare, queue, None);
        let bind = json!({"queue": "sales.payment", "exchange": "sales", "routing_key": "pr.#"});
        self.frame(own, Side::Client, Method::QueueBind, bind, None);
        let consume = json!({"queue": "sales.payment", "consumer_tag": "c"});
        self.frame(own, Side::Client, Method::BasicConsume, consume, None);
    }

    fn deliver(&mut self, connection: u32, tag: u64, redelivered: bool, id: &str) {
        let args = json!({
            "exchange": "sales", "routing_key": key(id), "consumer_tag": "c",
            "delivery_tag": tag, "redelivered": redelivered,
        });
        let own = ("payment", connection);
        self.frame(own, Side::Server, Method::BasicDeliver, args, Some(id));
    }

    fn ack(&mut self, service: (&str, u32), from: Side, tag: u64) {
        self.frame(
            service,
            from,
            Method::BasicAck,
            json!({"delivery_tag": tag}),
            None,
        );
    }
}

fn key(id: &str) -> String {
    format!("pr.{}", &id[..2])
}

fn message(id: &str) -> Message {
    Message {
        id: Some(id.to_owned()),
        persistent: true,
        headers: json!({"x-hostile": HOSTILE}),
        size: HOSTILE.len() as u64,
        body: HOSTILE.to_owned(),
        ..Message::default()
    }
}

fn main() -> anyhow::Result<()> {
    let given = std::env::args().nth(1).unwrap_or_default();
    if given.ends_with(".jsonl") {
        let Recorded { head, entries, .. } = journal::read(Path::new(&given))?;
        print!(
            "{}",
            replay(&story(&entries), &Caption::of(&head, &entries))
        );
        return Ok(());
    }
    let mut run = Run::default();
    let shop = ("shop", 1);
    run.service("shop", Change::Started);
    run.connection(shop, ConnectionEvent::Opened);
    let sales = json!({"exchange": "sales", "type": "topic", "durable": true});
    run.frame(shop, Side::Client, Method::ExchangeDeclare, sales, None);
    run.frame(shop, Side::Client, Method::ConfirmSelect, json!({}), None);
    run.payment(1);
    let ids = ["aa11aa11-0000", "bb22bb22-0000", "cc33cc33-0000"];
    for (tag, id) in (1..).zip(ids) {
        run.publish(id);
        run.ack(shop, Side::Server, tag);
        run.deliver(1, tag, false, id);
    }
    run.service("payment", Change::Killed);
    run.connection(
        ("payment", 1),
        ConnectionEvent::Lost(Loss::Trouble(HOSTILE.to_owned())),
    );
    run.payment(2);
    for (tag, id) in (1..).zip(ids) {
        run.deliver(2, tag, true, id);
    }
    for tag in [1, 2] {
        run.ack(("payment", 2), Side::Client, tag);
    }
    let note = CheckEvent::Note(format!("the check waited: {HOSTILE}"));
    run.add(Event::Check { what: note });
    for number in 0..given.parse().unwrap_or(0) {
        run.publish(&format!("{number:08x}-0000"));
    }
    let caption = Caption {
        place: "chapter 05, check killed, seed 1".to_owned(),
        says: format!("A killed consumer loses nothing {HOSTILE}"),
        ending: Some(Ending::Failed {
            expected: "payment acks each message that it has stored".to_owned(),
            observed: format!("payment got bb22bb22 again at 2.700 s. {HOSTILE}"),
        }),
    };
    print!("{}", replay(&story(&run.0), &caption));
    Ok(())
}
