//! A run that goes on: how everything is now, and a sample of what has just happened.
//!
//! Every entry counts; only some are told as rows, so that a page can follow any rate.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use explain::Part;
use serde::Serialize;
use serde_json::{Value, json};
use wiretap::{Entry, Event, Frame, Method, Side};

use crate::depth::Depth;
use crate::story::{Arrow, Bond, Change, Kind, Lane, Row, Sort, What};
use crate::tell::{Known, Teller};

/// How many messages' moves are told of those that come with one update.
const TOLD: usize = 100;
/// How many rows an update has for a page to draw.
const DRAWN: usize = 12;
/// How many rows are kept, to tell what became of a message.
const KEPT: usize = 5_000;
/// How many messages a page gets that is opened late.
const REMEMBERED: usize = 1_000;
/// A rate is that of the last second.
const SECOND: f64 = 1.0;

/// A run that goes on.
#[derive(Debug, Default)]
pub struct Live {
    /// The entries that tell of what lives now: who declared, bound and consumes what.
    entries: Vec<Entry>,
    known: Known,
    t: f64,
    has_broker: bool,
    broker_died: bool,
    ties: BTreeMap<(usize, usize, String), (Bond, u32)>,
    /// Who publishes where, for as long as it has a connection.
    publishers: BTreeSet<(usize, usize)>,
    exist: BTreeSet<usize>,
    deleted: BTreeSet<usize>,
    links: HashMap<usize, String>,
    /// How many messages each lane passed, by the time of the update.
    passed: VecDeque<(f64, HashMap<usize, u64>)>,
    rows: VecDeque<Row>,
    messages: VecDeque<Message>,
    published: u64,
    nameless: u64,
}

/// How everything is after some entries, and what happened with them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Update {
    /// When it was heard, in seconds since the run began.
    pub t: f64,
    /// Whether the broker runs, or was killed; `None` where there is none.
    pub broker: Option<&'static str>,
    /// They only grow.
    pub lanes: Vec<Lane>,
    /// Of each lane.
    pub parts: Vec<State>,
    /// What stands between two lanes now.
    pub ties: Vec<Tied>,
    /// Some of what happened, in order.
    pub rows: Vec<Row>,
    /// How many rows there were, those included.
    pub passed: usize,
    /// The messages that moved last, the newest at the end.
    pub messages: Vec<Message>,
    /// How many messages were published, or requests sent, since the run began.
    pub published: u64,
    /// How many messages had no id.
    pub nameless: u64,
}

/// How a lane is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct State {
    /// In a word, as `runs` or `deleted`.
    pub state: &'static str,
    /// Of a queue.
    pub ready: u64,
    /// Of a queue, or of a service that consumes.
    pub unacked: u64,
    /// A service's connections.
    pub open: u32,
    /// What is wrong with its link; empty when whole.
    pub link: String,
    /// Messages a second.
    pub rate: f64,
    /// How many unacked messages a consumer may have at most.
    pub prefetch: Option<u64>,
}

/// What stands between two lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tied {
    /// `binding`, `consumer` or `publisher`.
    pub bond: &'static str,
    /// An exchange, a queue, or a service that publishes.
    pub from: usize,
    /// A queue, a service, or an exchange.
    pub to: usize,
    /// The key of a binding.
    pub key: String,
    /// How many there are.
    pub count: u32,
}

/// What happened last to a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// Its routing key.
    pub key: Option<String>,
    /// The queues that it was in.
    pub queues: BTreeSet<usize>,
    /// The last row about it.
    pub last: String,
    /// When that happened.
    pub t: f64,
}

impl Live {
    /// A run that begins. `peer` is the service that answers HTTP requests, in a chapter without a broker.
    #[must_use]
    pub fn new(peer: Option<&str>) -> Self {
        Self {
            known: Known {
                peer: peer.unwrap_or_default().to_owned(),
                ..Known::default()
            },
            has_broker: peer.is_none(),
            ..Self::default()
        }
    }

    /// Knows the exchanges, queues and bindings that an administrator has made, from definitions in
    /// RabbitMQ's own format.
    pub fn stands_already(&mut self, definitions: &Value) {
        let all = |kind: &str| definitions[kind].as_array().cloned().unwrap_or_default();
        for exchange in all("exchanges") {
            let args =
                json!({"exchange": exchange["name"], "type": exchange["type"], "durable": true});
            self.entries.push(made(Method::ExchangeDeclare, args));
        }
        for queue in all("queues") {
            let args =
                json!({"queue": queue["name"], "durable": true, "arguments": queue["arguments"]});
            self.entries.push(made(Method::QueueDeclare, args));
        }
        for binding in all("bindings") {
            let (queue, exchange) = (&binding["destination"], &binding["source"]);
            let key = &binding["routing_key"];
            let args = json!({"queue": queue, "exchange": exchange, "routing_key": key});
            self.entries.push(made(Method::QueueBind, args));
        }
    }

    /// Counts these entries, and tells some of them. `t` is now, in seconds since the run began.
    pub fn hear(&mut self, t: f64, entries: Vec<Entry>) -> Update {
        self.t = t;
        let begin = self.entries.len();
        let mut all = std::mem::take(&mut self.entries);
        all.extend(entries);
        let mut teller = Teller::new(&all, std::mem::take(&mut self.known));
        let passed = self.tell(&mut teller, all.iter().enumerate().skip(begin));
        self.stands(&mut teller);
        let living = teller.routes.living().flat_map(|(_, own)| own);
        let living: BTreeSet<_> = living.collect();
        let Teller { known, rows, .. } = teller;
        self.known = known;
        let entries = all.into_iter().enumerate();
        let entries = entries.filter(|(index, _)| living.contains(index));
        self.entries = entries.map(|(_, entry)| entry).collect();
        let update = Update {
            messages: self.remember(&rows),
            rows: sample(&rows),
            passed,
            ..self.now()
        };
        self.rows.extend(rows);
        let old = self.rows.len().saturating_sub(KEPT);
        self.rows.drain(..old);
        update
    }

    /// Tells what is no message's, and the last messages; counts all. Returns how many rows there would be
    /// if all were told.
    fn tell<'a>(
        &mut self,
        teller: &mut Teller<'a>,
        fresh: impl Iterator<Item = (usize, &'a Entry)> + Clone,
    ) -> usize {
        let mut untold = fresh.clone().filter(|(_, entry)| of_message(entry)).count();
        untold = untold.saturating_sub(TOLD);
        let mut rates = HashMap::new();
        let mut passed = 0;
        for (index, entry) in fresh {
            if let Event::Amqp(frame) = &entry.event
                && of_message(entry)
                && untold > 0
            {
                untold -= 1;
                passed += 1;
                if let Some(moved) = teller.moves(index, frame) {
                    self.count(&moved.arrow, is_named(frame), &mut rates);
                }
                continue;
            }
            let before = teller.rows.len();
            teller.entry(index, entry);
            for row in &teller.rows[before..] {
                passed += 1;
                if let What::Arrow(arrow) = &row.what {
                    self.count(arrow, !row.ids.is_empty(), &mut rates);
                }
            }
        }
        let now = self.t;
        self.passed.push_back((now, rates));
        self.passed.retain(|(then, _)| *then > now - SECOND);
        passed
    }

    /// How everything is now, for a page that is opened late.
    #[must_use]
    pub fn whole(&self) -> Update {
        Update {
            messages: self.messages.iter().cloned().collect(),
            ..self.now()
        }
    }

    /// What is still known of a message: the rows with its id, or with its correlation id.
    #[must_use]
    pub fn life(&self, id: &str) -> Vec<&Row> {
        let carries = |row: &&Row| row.key.is_some() && row.ids.iter().any(|own| own == id);
        let names = self.rows.iter().filter(carries).flat_map(|row| &row.ids);
        let names: BTreeSet<_> = names.map(String::as_str).chain([id]).collect();
        let about = |row: &&Row| row.ids.iter().any(|own| names.contains(&**own));
        self.rows.iter().filter(about).collect()
    }

    fn count(&mut self, arrow: &Arrow, named: bool, rates: &mut HashMap<usize, u64>) {
        let lanes = match arrow.sort {
            Sort::Publish => {
                self.published += 1;
                self.nameless += u64::from(!named);
                self.publishers.insert((arrow.from, arrow.to));
                [&[arrow.from, arrow.to], &*arrow.routed].concat()
            }
            Sort::Deliver | Sort::Redeliver => vec![arrow.to],
            Sort::Request => {
                self.published += 1;
                vec![arrow.from, arrow.to]
            }
            _ => return,
        };
        for lane in lanes {
            *rates.entry(lane).or_default() += 1;
        }
    }

    /// Takes over what lives now, and how links are.
    fn stands(&mut self, teller: &mut Teller<'_>) {
        self.ties.clear();
        let before = std::mem::take(&mut self.exist);
        let known = &mut teller.known;
        for (part, _) in teller.routes.living() {
            let mut lane = |kind, name| known.lanes.of(kind, name);
            let (bond, from, to, key) = match part {
                Part::Exchange(name) => {
                    self.exist.insert(lane(Kind::Exchange, name));
                    continue;
                }
                Part::Queue(name) => {
                    self.exist.insert(lane(Kind::Queue, name));
                    continue;
                }
                Part::Binding {
                    exchange,
                    queue,
                    key,
                } => (
                    Bond::Binding,
                    lane(Kind::Exchange, exchange),
                    lane(Kind::Queue, queue),
                    key,
                ),
                Part::Consumer { queue, service } => (
                    Bond::Consumer,
                    lane(Kind::Queue, queue),
                    lane(Kind::Service, service),
                    "",
                ),
            };
            let tie = self.ties.entry((from, to, key.to_owned()));
            tie.or_insert((bond, 0)).1 += 1;
        }
        self.deleted.extend(&before);
        self.deleted.retain(|lane| !self.exist.contains(lane));
        for row in &teller.rows {
            self.links.extend(row.links.iter().cloned());
            if let What::Change(None, change) = row.what {
                self.broker_died = change == Change::Ended;
            }
        }
        let open = &known.open;
        let connected = |lane: &usize| open.get(lane).is_some_and(|open| *open > 0);
        self.publishers.retain(|(by, _)| connected(by));
    }

    fn now(&self) -> Update {
        let lanes = self.known.lanes.all().iter().enumerate();
        let lanes = lanes.map(|(number, lane)| Lane {
            gets: lane.kind == Kind::Service && self.known.parties.gets(number),
            ..lane.clone()
        });
        let lanes: Vec<_> = lanes.collect();
        let parts = lanes.iter().enumerate();
        let parts = parts.map(|(number, lane)| self.state(number, lane));
        let mut ties: Vec<_> = self
            .ties
            .iter()
            .map(|((from, to, key), (bond, count))| Tied {
                bond: if *bond == Bond::Binding {
                    "binding"
                } else {
                    "consumer"
                },
                from: *from,
                to: *to,
                key: key.clone(),
                count: *count,
            })
            .collect();
        ties.extend(self.publishers.iter().map(|&(from, to)| Tied {
            bond: "publisher",
            from,
            to,
            key: String::new(),
            count: 1,
        }));
        Update {
            t: self.t,
            broker: self.has_broker.then_some(match self.broker_died {
                true => "killed",
                false => "runs",
            }),
            parts: parts.collect(),
            lanes,
            ties,
            published: self.published,
            nameless: self.nameless,
            ..Update::default()
        }
    }

    fn state(&self, number: usize, lane: &Lane) -> State {
        let known = &self.known;
        let passed = self
            .passed
            .iter()
            .filter_map(|(_, lanes)| lanes.get(&number));
        let mut state = State {
            rate: passed.sum::<u64>() as f64 / SECOND,
            state: "runs",
            ..State::default()
        };
        match lane.kind {
            Kind::Check => {}
            Kind::Exchange | Kind::Queue => {
                let Depth { ready, unacked } = known.depths.of(number);
                (state.ready, state.unacked) = (ready, unacked);
                // The default exchange, `amq.topic` and their like are there from the start.
                let given = lane.kind == Kind::Exchange
                    && (lane.name.is_empty() || lane.name.starts_with("amq."));
                if self.deleted.contains(&number) {
                    state.state = "deleted";
                } else if !given && !self.exist.contains(&number) {
                    state.state = "not declared";
                }
            }
            Kind::Service => {
                state.state = match known.changes.get(&number) {
                    Some(Change::Runs | Change::Told) => "runs",
                    Some(Change::Frozen) => "frozen",
                    Some(Change::Left) => "exited",
                    Some(Change::Ended) => "ended",
                    None => "runs",
                };
                state.unacked = known.depths.held_by(&lane.name) as u64;
                state.open = known.open.get(&number).copied().unwrap_or_default();
                state.link = self.links.get(&number).cloned().unwrap_or_default();
                let own = known
                    .prefetch
                    .iter()
                    .filter(|((name, ..), _)| *name == lane.name);
                state.prefetch = own
                    .map(|(_, count)| *count)
                    .filter(|count| *count > 0)
                    .max();
            }
        }
        state
    }

    /// The messages of these rows, as they are now.
    fn remember(&mut self, rows: &[Row]) -> Vec<Message> {
        let mut moved = BTreeSet::new();
        for row in rows {
            let What::Arrow(arrow) = &row.what else {
                continue;
            };
            // The second name of a message is its correlation id, which is no message of its own.
            let ids = row
                .ids
                .iter()
                .take(if row.key.is_some() { 1 } else { usize::MAX });
            for id in ids {
                let known = self.messages.iter().rposition(|message| message.id == *id);
                let http = matches!(arrow.sort, Sort::Request | Sort::Response);
                let mut message = match known.and_then(|place| self.messages.remove(place)) {
                    Some(message) => message,
                    None if row.key.is_none() && !http => continue,
                    None => Message {
                        id: id.clone(),
                        key: row.key.clone(),
                        queues: BTreeSet::new(),
                        last: String::new(),
                        t: 0.0,
                    },
                };
                let lanes = [&[arrow.from, arrow.to], &*arrow.routed].concat();
                let is_queue = |lane: &usize| self.known.lanes.all()[*lane].kind == Kind::Queue;
                message.queues.extend(lanes.into_iter().filter(is_queue));
                (message.last, message.t) = (row.text.clone(), row.t);
                self.messages.push_back(message);
                moved.insert(id.clone());
            }
        }
        let old = self.messages.len().saturating_sub(REMEMBERED);
        self.messages.drain(..old);
        let moved = |message: &&Message| moved.contains(&message.id);
        self.messages.iter().filter(moved).cloned().collect()
    }
}

/// What an administrator did before the run.
fn made(method: Method, args: Value) -> Entry {
    let frame = Frame {
        service: "administrator".to_owned(),
        connection: 0,
        from: Side::Client,
        channel: 1,
        method,
        args,
        message: None,
    };
    Entry {
        t: 0.0,
        event: Event::Amqp(frame),
    }
}

/// Whether an entry is about a message: there may be thousands a second.
fn of_message(entry: &Entry) -> bool {
    matches!(&entry.event, Event::Amqp(frame) if frame.message.is_some() || frame.tag().is_some())
}

/// Whether a message has an id, or a correlation id.
fn is_named(frame: &Frame) -> bool {
    let message = frame.message.as_ref();
    message.is_some_and(|message| message.id.is_some() || message.correlation_id.is_some())
}

/// Some of the rows: first what is no message, then the last ones.
fn sample(rows: &[Row]) -> Vec<Row> {
    let rank = |row: &Row| match &row.what {
        What::Arrow(_) => 1,
        _ => 0,
    };
    let mut places: Vec<usize> = (0..rows.len()).rev().collect();
    places.sort_by_key(|place| rank(&rows[*place]));
    places.truncate(DRAWN);
    places.sort_unstable();
    places
        .into_iter()
        .map(|place| rows[place].clone())
        .collect()
}
