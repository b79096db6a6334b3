//! Makes a [`Story`] of a journal's entries.

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::vec::IntoIter;

use explain::{Part, Routes, Turn, short};
use process::Change as ProcessChange;
use wiretap::{
    CheckEvent, ConnectionEvent, Entry, Event, Frame, HttpLine, LinkEvent, Loss, Method, Side,
};

use crate::depth::{Channel, Delivery, Depth, Depths};
use crate::lanes::Lanes;
use crate::story::{Arrow, Bond, Change, Kind, Row, Sort, Story, Tie, What};

/// The story that these entries tell.
#[must_use]
pub fn story(entries: &[Entry]) -> Story {
    let routes = Routes::new(entries);
    let mut teller = Teller {
        turns: routes.turns().into_iter().peekable(),
        routes,
        peer: peer(entries),
        lanes: Lanes::default(),
        depths: Depths::default(),
        prefetch: HashMap::new(),
        confirms: HashMap::new(),
        asked: HashMap::new(),
        open: HashMap::new(),
        connected: Vec::new(),
        rows: Vec::new(),
    };
    for (index, entry) in entries.iter().enumerate() {
        teller.entry(index, entry);
    }
    teller.lanes.in_order(entries, teller.rows)
}

/// The service that answers the HTTP requests of a journal: the relay knows only who asks.
fn peer(entries: &[Entry]) -> String {
    let asks = |name: &str| {
        entries
            .iter()
            .any(|entry| matches!(&entry.event, Event::Http { service, .. } if service == name))
    };
    let started = entries.iter().filter_map(|entry| match &entry.event {
        Event::Service { service, .. } => Some(service),
        _ => None,
    });
    let mut others = started.filter(|name| !asks(name));
    others
        .next()
        .cloned()
        .unwrap_or_else(|| "server".to_owned())
}

/// By number: a message's id, and its exchange.
type Unconfirmed = BTreeMap<u64, (Option<String>, usize)>;

struct Teller<'a> {
    routes: Routes<'a>,
    /// What begins and ends after the entries so far.
    turns: Peekable<IntoIter<Turn<'a>>>,
    peer: String,
    lanes: Lanes,
    depths: Depths,
    prefetch: HashMap<Channel, u64>,
    /// Of each channel in confirm mode: the number of the last publish, and the unconfirmed ones.
    confirms: HashMap<Channel, (u64, Unconfirmed)>,
    /// The requests without a response, by service and connection: their ids.
    asked: HashMap<(String, u32), Vec<String>>,
    /// How many connections each service has.
    open: HashMap<usize, u32>,
    /// Which of them changed with the current entry.
    connected: Vec<(usize, u32)>,
    rows: Vec<Row>,
}

impl<'a> Teller<'a> {
    fn entry(&mut self, index: usize, entry: &'a Entry) {
        let row = match &entry.event {
            Event::Amqp(frame) => self.frame(index, frame),
            Event::Http {
                service,
                connection,
                line,
                body,
            } => Some(self.http((service, *connection), line, body)),
            Event::Service { service, what } => {
                let lane = self.lanes.of(Kind::Service, service);
                let fault = self.is_fault(lane, what);
                let changes = What::Change(Some(lane), change(what));
                Some(Row {
                    fault,
                    ..row(changes, what.to_string())
                })
            }
            Event::Link { service, what } => Some(self.link(service, *what)),
            Event::Connection {
                service,
                connection,
                what,
            } => self.connection((service, *connection), what),
            Event::Check { what } => self.check(index, what),
        };
        let (t, depths, ties) = (entry.t, self.depths.changes(), self.ties(index));
        match (row, self.rows.last_mut()) {
            (Some(row), Some(last)) if last.goes_on(&row) => {
                last.text = format!("{}, {}", last.text, row.text);
                last.tip = format!("{}\n\n{}", last.tip, row.tip);
            }
            (Some(row), _) => self.rows.push(Row { t, ..row }),
            (None, _) => {}
        }
        // What has no row of its own counts to the row before.
        if let Some(last) = self.rows.last_mut() {
            last.now(depths);
            last.ties.extend(ties);
            last.open.append(&mut self.connected);
        }
    }

    /// What begins or ends with this entry.
    fn ties(&mut self, index: usize) -> Vec<Tie> {
        let mut ties = Vec::new();
        while let Some(turn) = self.turns.next_if(|turn| turn.index <= index) {
            let mut lane = |kind, name| self.lanes.of(kind, name);
            let (bond, from, to, key) = match turn.part {
                Part::Exchange(name) => {
                    let lane = lane(Kind::Exchange, name);
                    (Bond::Exists, lane, lane, "")
                }
                Part::Queue(name) => {
                    let lane = lane(Kind::Queue, name);
                    (Bond::Exists, lane, lane, "")
                }
                Part::Binding {
                    exchange,
                    queue,
                    key,
                } => {
                    let exchange = lane(Kind::Exchange, exchange);
                    (Bond::Binding, exchange, lane(Kind::Queue, queue), key)
                }
                Part::Consumer { queue, service } => {
                    let queue = lane(Kind::Queue, queue);
                    (Bond::Consumer, queue, lane(Kind::Service, service), "")
                }
            };
            ties.push(Tie {
                bond,
                from,
                to,
                key: key.to_owned(),
                holds: turn.begins,
            });
        }
        ties
    }

    fn frame(&mut self, index: usize, frame: &'a Frame) -> Option<Row> {
        let service = self.lanes.of(Kind::Service, &frame.service);
        let channel = channel(frame);
        match (frame.from, frame.method) {
            (_, Method::BasicPublish) => Some(self.publish(index, frame, service)),
            (Side::Server, Method::BasicDeliver | Method::BasicGetOk) => {
                Some(self.deliver(index, frame, service))
            }
            (Side::Client, Method::BasicAck | Method::BasicNack | Method::BasicReject) => {
                Some(self.settle(frame, service))
            }
            (Side::Server, Method::BasicAck | Method::BasicNack) => self.confirm(frame, service),
            (Side::Server, Method::BasicReturn) => {
                let exchange = self.lanes.of(Kind::Exchange, word(frame, "exchange"));
                let text = format!("returned: {}", word(frame, "reply_text"));
                Some(arrow(Sort::Refusal, exchange, service, frame, text))
            }
            (Side::Client, Method::ConfirmSelect) => {
                self.confirms.entry(channel).or_default();
                None
            }
            (Side::Client, Method::BasicQos) => {
                let count = frame.args["prefetch_count"].as_u64().unwrap_or_default();
                self.prefetch.insert(channel, count);
                None
            }
            (Side::Client, method) if is_setup(method) => self.setup(index, frame, service),
            (Side::Server, Method::QueueDeclareOk) => {
                let queue = self.lanes.of(Kind::Queue, word(frame, "queue"));
                let count = frame.args["message_count"].as_u64().unwrap_or_default();
                self.depths.set_ready(queue, count);
                None
            }
            (from, Method::ChannelClose) => {
                self.depths.give_back(|held| *held == channel);
                self.confirms.remove(&channel);
                (from == Side::Server).then(|| self.refusal(frame, service))
            }
            (from, Method::ConnectionClose) => {
                self.connection_gone(&frame.service, frame.connection);
                (from == Side::Server).then(|| self.refusal(frame, service))
            }
            (Side::Server, Method::BasicCancel | Method::ConnectionBlocked) => {
                Some(self.refusal(frame, service))
            }
            _ => None,
        }
    }

    fn publish(&mut self, index: usize, frame: &'a Frame, by: usize) -> Row {
        let (name, key) = (word(frame, "exchange"), word(frame, "routing_key"));
        let exchange = self.lanes.of(Kind::Exchange, name);
        let queues = self.routes.took(index);
        let routed: Vec<_> = queues
            .iter()
            .map(|queue| self.lanes.of(Kind::Queue, queue))
            .collect();
        for &queue in &routed {
            self.depths.add(queue);
        }
        if let Some((last, waiting)) = self.confirms.get_mut(&channel(frame)) {
            *last += 1;
            waiting.insert(*last, (frame.message_id().map(str::to_owned), exchange));
        }
        let text = match key {
            "" => format!("publish {}", subject(frame)),
            _ => format!("publish {}, key {key}", subject(frame)),
        };
        let lost = routed.is_empty() && !self.routes.is_hidden(name);
        let mut row = arrow(Sort::Publish, by, exchange, frame, text);
        if let What::Arrow(arrow) = &mut row.what {
            (arrow.routed, arrow.lost) = (routed, lost);
        }
        row
    }

    fn deliver(&mut self, index: usize, frame: &Frame, to: usize) -> Row {
        // The queue's name, if the consume was not seen, as far as it can be told.
        let (queue, no_ack) = match self.routes.source(index) {
            Some(source) => source,
            None if word(frame, "exchange").is_empty() => (word(frame, "routing_key"), false),
            None => ("?", false),
        };
        let queue = self.lanes.of(Kind::Queue, queue);
        let delivery = Delivery {
            queue,
            id: frame.message_id().map(str::to_owned),
        };
        let holder = frame.tag().filter(|_| !no_ack);
        self.depths
            .deliver(delivery, holder.map(|tag| (channel(frame), tag)));
        let (sort, verb) = match frame.flag("redelivered") {
            true => (Sort::Redeliver, "redeliver"),
            false => (Sort::Deliver, "deliver"),
        };
        let how = if no_ack { ", no_ack" } else { "" };
        let text = format!("{verb} {}{how}", subject(frame));
        arrow(sort, queue, to, frame, text)
    }

    fn settle(&mut self, frame: &Frame, by: usize) -> Row {
        let settled = self.depths.settle(&channel(frame), |tag| frame.covers(tag));
        let requeue = frame.flag("requeue");
        let (sort, verb) = match (frame.method, requeue) {
            (Method::BasicAck, _) => (Sort::Ack, "ack"),
            (_, true) => (Sort::Reject, "requeue"),
            (_, false) => (Sort::Reject, "reject"),
        };
        let ids: Vec<_> = settled.iter().filter_map(|one| one.id.clone()).collect();
        let text = match (settled.len(), ids.first()) {
            (1, Some(id)) => format!("{verb} {}", short(id)),
            (0 | 1, _) => verb.to_owned(),
            (count, _) => format!("{verb} {count} messages"),
        };
        let queue = settled.first().map(|one| one.queue);
        let mut routed = Vec::new();
        for one in &settled {
            let dead = self.lanes.name(one.queue).to_owned();
            match self.routes.dead_letters(&dead).map(str::to_owned) {
                Some(dead) if sort == Sort::Reject && !requeue => {
                    let dead = self.lanes.of(Kind::Queue, &dead);
                    self.depths.add(dead);
                    routed = vec![dead];
                }
                _ if requeue => self.depths.add(one.queue),
                _ => {}
            }
        }
        let to = queue.unwrap_or_else(|| self.lanes.any_broker());
        let mut row = arrow(sort, by, to, frame, text);
        row.ids = ids;
        if let What::Arrow(arrow) = &mut row.what {
            arrow.routed = routed;
        }
        row
    }

    fn confirm(&mut self, frame: &Frame, to: usize) -> Option<Row> {
        let (_, waiting) = self.confirms.get_mut(&channel(frame))?;
        let tags: Vec<_> = waiting
            .keys()
            .copied()
            .filter(|tag| frame.covers(*tag))
            .collect();
        let settled: Vec<_> = tags.iter().filter_map(|tag| waiting.remove(tag)).collect();
        let exchange = settled.first().map(|(_, exchange)| *exchange);
        let (sort, verb) = match frame.method {
            Method::BasicAck => (Sort::Confirm, "confirm"),
            _ => (Sort::Refusal, "nack"),
        };
        let ids: Vec<_> = settled.iter().filter_map(|(id, _)| id.clone()).collect();
        let text = match (settled.len(), ids.first()) {
            (1, Some(id)) => format!("{verb} {}", short(id)),
            (0 | 1, _) => verb.to_owned(),
            (count, _) => format!("{verb} {count} messages"),
        };
        let from = exchange.unwrap_or_else(|| self.lanes.any_broker());
        let mut row = arrow(sort, from, to, frame, text);
        row.ids = ids;
        Some(row)
    }

    fn setup(&mut self, index: usize, frame: &Frame, by: usize) -> Option<Row> {
        let queue = self.routes.queue(index);
        let key = word(frame, "routing_key");
        let (lane, text) = match (frame.method, queue) {
            (Method::ExchangeDeclare | Method::ExchangeDelete, _) => {
                let lane = self.lanes.of(Kind::Exchange, word(frame, "exchange"));
                let kind = word(frame, "type");
                let verb = if kind.is_empty() { "delete" } else { "declare" };
                (lane, format!("{verb} {kind}").trim_end().to_owned())
            }
            (method, Some(queue)) => {
                let lane = self.lanes.of(Kind::Queue, queue);
                let text = match method {
                    Method::QueueBind if key.is_empty() => {
                        format!("bind to {}", word(frame, "exchange"))
                    }
                    Method::QueueBind => format!("bind to {}, key {key}", word(frame, "exchange")),
                    Method::BasicConsume => match self.prefetch.get(&channel(frame)) {
                        Some(0) | None => "consume".to_owned(),
                        Some(count) => format!("consume, prefetch {count}"),
                    },
                    Method::QueueDeclare => "declare".to_owned(),
                    _ => method.name().replace("queue.", ""),
                };
                if matches!(method, Method::QueuePurge | Method::QueueDelete) {
                    self.depths.empty(lane);
                }
                (lane, text)
            }
            _ => return None,
        };
        Some(arrow(Sort::Setup, by, lane, frame, text))
    }

    fn refusal(&mut self, frame: &Frame, to: usize) -> Row {
        let text = match frame.method {
            Method::BasicCancel => "consumer cancelled".to_owned(),
            Method::ConnectionBlocked => "connection blocked".to_owned(),
            method => {
                let what = if method == Method::ChannelClose {
                    "channel"
                } else {
                    "connection"
                };
                let why = word(frame, "reply_text");
                let why = why.split_once(" - ").map_or(why, |(code, _)| code);
                format!("{what} closed: {why}")
            }
        };
        arrow(Sort::Refusal, self.lanes.any_broker(), to, frame, text)
    }

    fn http(&mut self, (service, connection): (&str, u32), line: &HttpLine, body: &str) -> Row {
        let from = self.lanes.of(Kind::Service, service);
        let peer = self.peer.clone();
        let to = self.lanes.of(Kind::Service, &peer);
        let open = self
            .asked
            .entry((service.to_owned(), connection))
            .or_default();
        let (sort, from, to) = match line {
            HttpLine::Request { .. } => {
                *open = words_like_ids(body);
                (Sort::Request, from, to)
            }
            HttpLine::Response { .. } => (Sort::Response, to, from),
        };
        let ids = open.clone();
        let about = ids
            .first()
            .map_or(String::new(), |id| format!(" {}", short(id)));
        let arrow = Arrow {
            sort,
            from,
            to,
            routed: Vec::new(),
            lost: false,
        };
        Row {
            ids,
            tip: format!("{line}\n{body}"),
            ..row(What::Arrow(arrow), format!("{line}{about}"))
        }
    }

    /// Whether this breaks a service: not the end of one that the check stopped or killed.
    fn is_fault(&self, lane: usize, what: &ProcessChange) -> bool {
        let mut own = self.rows.iter().rev().filter_map(|row| match row.what {
            What::Change(Some(other), change) if other == lane => Some(change),
            _ => None,
        });
        match what {
            ProcessChange::Started | ProcessChange::Thawed => false,
            ProcessChange::Ended(_) => !matches!(own.next(), Some(Change::Told | Change::Ended)),
            ProcessChange::Frozen | ProcessChange::Killed | ProcessChange::Terminated => true,
        }
    }

    fn link(&mut self, service: &str, what: LinkEvent) -> Row {
        let lane = self.lanes.of(Kind::Service, service);
        let text = format!("link {what}");
        // After a cut, the link lets new connections in.
        let whole = matches!(what, LinkEvent::Cut | LinkEvent::Restored);
        let state = if whole {
            String::new()
        } else {
            what.to_string()
        };
        Row {
            fault: what != LinkEvent::Restored,
            links: vec![(lane, state)],
            ..row(What::Link(lane), text)
        }
    }

    fn connection(
        &mut self,
        (service, connection): (&str, u32),
        what: &ConnectionEvent,
    ) -> Option<Row> {
        let lane = self.lanes.of(Kind::Service, service);
        let open = self.open.entry(lane).or_default();
        match what {
            ConnectionEvent::Opened => *open += 1,
            what if what.is_end() => *open = open.saturating_sub(1),
            _ => {}
        }
        self.connected.push((lane, *open));
        if what.is_end() {
            self.connection_gone(service, connection);
        }
        // A cut of the link, or a kill, is told by a row of its own.
        let fault = matches!(
            what,
            ConnectionEvent::CutBefore(_)
                | ConnectionEvent::HeldBack(_)
                | ConnectionEvent::Unreadable
                | ConnectionEvent::Lost(Loss::ResponseLost)
        );
        // An orderly end is told by what follows it.
        let told = !matches!(what, ConnectionEvent::Closed);
        told.then(|| Row {
            fault,
            ..row(What::Link(lane), format!("connection {connection} {what}"))
        })
    }

    fn connection_gone(&mut self, service: &str, connection: u32) {
        self.depths
            .give_back(|(name, number, _)| name == service && *number == connection);
        self.confirms
            .retain(|(name, number, _), _| name != service || *number != connection);
    }

    fn check(&mut self, index: usize, what: &'a CheckEvent) -> Option<Row> {
        match what {
            CheckEvent::Published(frame) => {
                let check = self.lanes.of(Kind::Check, "check");
                Some(self.publish(index, frame, check))
            }
            CheckEvent::BrokerKilled => {
                self.depths.give_back(|_| true);
                Some(Row {
                    fault: true,
                    ..row(What::Change(None, Change::Ended), what.to_string())
                })
            }
            CheckEvent::BrokerBack => Some(row(What::Change(None, Change::Runs), what.to_string())),
            CheckEvent::QueueDeleted(name) => {
                let queue = self.lanes.of(Kind::Queue, name);
                self.depths.empty(queue);
                Some(Row {
                    fault: true,
                    ..row(What::Note, what.to_string())
                })
            }
            CheckEvent::QueueDeclared(_) | CheckEvent::Note(_) => {
                Some(row(What::Note, what.to_string()))
            }
        }
    }
}

impl Row {
    /// Whether `next` is another step by which a service sets up the same queue.
    fn goes_on(&self, next: &Self) -> bool {
        match (&self.what, &next.what) {
            (What::Arrow(own), What::Arrow(next)) => own.sort == Sort::Setup && own == next,
            _ => false,
        }
    }

    /// These queues have these depths after it.
    fn now(&mut self, depths: Vec<(usize, Depth)>) {
        self.depths
            .retain(|(lane, _)| depths.iter().all(|(other, _)| lane != other));
        self.depths.extend(depths);
    }
}

fn is_setup(method: Method) -> bool {
    matches!(
        method,
        Method::ExchangeDeclare
            | Method::ExchangeDelete
            | Method::QueueDeclare
            | Method::QueueDelete
            | Method::QueuePurge
            | Method::QueueBind
            | Method::QueueUnbind
            | Method::BasicConsume
    )
}

fn change(what: &ProcessChange) -> Change {
    match what {
        ProcessChange::Started | ProcessChange::Thawed => Change::Runs,
        ProcessChange::Frozen => Change::Frozen,
        ProcessChange::Killed | ProcessChange::Ended(_) => Change::Ended,
        ProcessChange::Terminated => Change::Told,
    }
}

fn row(what: What, text: String) -> Row {
    Row {
        t: 0.0,
        what,
        tip: text.clone(),
        text,
        ids: Vec::new(),
        key: None,
        fault: false,
        depths: Vec::new(),
        ties: Vec::new(),
        open: Vec::new(),
        links: Vec::new(),
    }
}

fn arrow(sort: Sort, from: usize, to: usize, frame: &Frame, text: String) -> Row {
    let arrow = Arrow {
        sort,
        from,
        to,
        routed: Vec::new(),
        lost: false,
    };
    Row {
        tip: tip(frame),
        ids: names(frame),
        key: frame
            .message
            .as_ref()
            .map(|_| word(frame, "routing_key").to_owned()),
        ..row(What::Arrow(arrow), text)
    }
}

/// By what a message can be named: its id, and its correlation id.
fn names(frame: &Frame) -> Vec<String> {
    let message = frame.message.iter();
    let names = message.flat_map(|message| [message.id.clone(), message.correlation_id.clone()]);
    names.flatten().filter(|name| !name.is_empty()).collect()
}

/// What to call a message: by the beginning of its id, else of its body.
fn subject(frame: &Frame) -> String {
    const LONGEST: usize = 14;
    if let Some(name) = names(frame).first() {
        return short(name);
    }
    let body = frame.message.as_ref().map_or("", |message| &message.body);
    match body.chars().count() {
        0..=LONGEST => body.to_owned(),
        _ => body.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

/// A frame as a reader wants to see it: method, arguments, properties, body.
fn tip(frame: &Frame) -> String {
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

fn channel(frame: &Frame) -> Channel {
    (frame.service.clone(), frame.connection, frame.channel)
}

fn word<'f>(frame: &'f Frame, name: &str) -> &'f str {
    frame.args[name].as_str().unwrap_or_default()
}

/// The words of a body that look like the id of something: 36 characters, as a UUID has.
fn words_like_ids(body: &str) -> Vec<String> {
    let words = body.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    let ids = words.filter(|word| word.len() == 36 && word.matches('-').count() == 4);
    ids.map(str::to_owned).collect()
}
