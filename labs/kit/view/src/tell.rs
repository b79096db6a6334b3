//! Makes a [`Story`] of a journal's entries.

mod amqp;
mod words;

use std::collections::{HashMap, HashSet};
use std::iter::Peekable;
use std::vec::IntoIter;

use explain::{Part, Routes, Turn, short};
use process::{Change as ProcessChange, Exit};
use wiretap::{CheckEvent, ConnectionEvent, Entry, Event, HttpLine, LinkEvent, Loss};

use crate::confirms::Confirms;
use crate::depth::{Channel, Depth, Depths};
use crate::lanes::Lanes;
use crate::story::{Arrow, Bond, Change, Kind, Row, Sort, Story, Tie, What};
use words::{before_code, with_step, word, words_like_ids};

/// The story that these entries tell.
#[must_use]
pub fn story(entries: &[Entry]) -> Story {
    let known = Known {
        peer: peer(entries),
        ..Known::default()
    };
    let mut teller = Teller::new(entries, known);
    for (index, entry) in entries.iter().enumerate() {
        teller.entry(index, entry);
    }
    let Teller { known, rows, .. } = teller;
    known.lanes.in_order(rows, |lane| known.parties.gets(lane))
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

fn came_from<'a>(entries: &'a [Entry], routes: &Routes<'a>) -> HashMap<&'a str, Vec<&'a str>> {
    let mut queues: HashMap<&str, Vec<&str>> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if let Event::Amqp(frame) = &entry.event
            && let (Some(id), Some((queue, _))) = (frame.message_id(), routes.source(index))
        {
            let of_message = queues.entry(id).or_default();
            if !of_message.contains(&queue) {
                of_message.push(queue);
            }
        }
    }
    queues
}

/// Tells entries, one after the other.
pub(crate) struct Teller<'a> {
    pub(crate) routes: Routes<'a>,
    /// What begins and ends after the entries so far.
    turns: Peekable<IntoIter<Turn<'a>>>,
    /// By a message's id the queues from which it is delivered.
    came_from: HashMap<&'a str, Vec<&'a str>>,
    pub(crate) known: Known,
    pub(crate) rows: Vec<Row>,
}

/// What is known after the entries so far.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The service that answers HTTP requests.
    pub(crate) peer: String,
    /// The exchanges to which the check has bound a queue of its own, which is not shown.
    pub(crate) watched: HashSet<String>,
    pub(crate) lanes: Lanes,
    pub(crate) parties: Parties,
    pub(crate) depths: Depths,
    pub(crate) prefetch: HashMap<Channel, u64>,
    pub(crate) confirms: Confirms,
    /// The requests without a response, by service and connection: their ids.
    pub(crate) asked: HashMap<(String, u32), Vec<String>>,
    /// How many connections each service has.
    pub(crate) open: HashMap<usize, u32>,
    /// Which of them changed with the current entry.
    pub(crate) connected: Vec<(usize, u32)>,
    /// What happened last to each service.
    pub(crate) changes: HashMap<usize, Change>,
}

/// What the services are there for, as far as they have shown it: numbers of lanes.
#[derive(Debug, Default)]
pub(crate) struct Parties {
    consume: HashSet<usize>,
    /// They publish requests, and wait for answers.
    ask: HashSet<usize>,
    /// They answer HTTP requests.
    serve: HashSet<usize>,
}

impl Parties {
    /// Whether a service is there to get messages: it consumes, and not only answers to what it asks.
    pub(crate) fn gets(&self, lane: usize) -> bool {
        self.serve.contains(&lane) || (self.consume.contains(&lane) && !self.ask.contains(&lane))
    }
}

impl<'a> Teller<'a> {
    pub(crate) fn new(entries: &'a [Entry], known: Known) -> Self {
        let routes = Routes::new(entries);
        Self {
            came_from: came_from(entries, &routes),
            turns: routes.turns().into_iter().peekable(),
            routes,
            known,
            rows: Vec::new(),
        }
    }

    pub(crate) fn entry(&mut self, index: usize, entry: &'a Entry) {
        let row = match &entry.event {
            Event::Amqp(frame) => self.frame(index, frame),
            Event::Http {
                service,
                connection,
                line,
                body,
            } => Some(self.http((service, *connection), line, body)),
            Event::Service { service, what } => {
                let lane = self.known.lanes.of(Kind::Service, service);
                let fault = self.is_fault(lane, what);
                self.known.changes.insert(lane, change(what));
                let change = What::Change(Some(lane), change(what));
                Some(Row {
                    fault,
                    ..Row::new(change, what.to_string())
                })
            }
            Event::Link { service, what } => Some(self.link(service, *what)),
            Event::Connection {
                service,
                connection,
                what,
            } => self.connection((service, *connection), what),
            Event::Check { what } => self.check(index, what),
            Event::Verdict { .. } => None,
        };
        let (t, depths, ties) = (entry.t, self.known.depths.changes(), self.ties(index));
        match (row, self.rows.last_mut()) {
            (Some(row), Some(last)) if last.goes_on(&row) => {
                last.text = with_step(&last.text, &row.text);
                last.tip = format!("{}\n\n{}", last.tip, row.tip);
                last.until = t;
            }
            (Some(row), _) => self.rows.push(Row { t, until: t, ..row }),
            (None, _) => {}
        }
        // What has no row of its own counts to the row before.
        if let Some(last) = self.rows.last_mut() {
            last.now(depths);
            last.ties.extend(ties);
            last.open.append(&mut self.known.connected);
        }
    }

    /// What begins or ends with this entry.
    fn ties(&mut self, index: usize) -> Vec<Tie> {
        let mut ties = Vec::new();
        while let Some(turn) = self.turns.next_if(|turn| turn.index <= index) {
            let mut lane = |kind, name| self.known.lanes.of(kind, name);
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

    fn http(&mut self, (service, connection): (&str, u32), line: &HttpLine, body: &str) -> Row {
        let from = self.known.lanes.of(Kind::Service, service);
        let peer = self.known.peer.clone();
        let to = self.known.lanes.of(Kind::Service, &peer);
        self.known.parties.serve.insert(to);
        let open = self
            .known
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
        let arrow = Arrow::new(sort, from, to);
        Row {
            ids,
            tip: format!("{line}\n{body}"),
            ..Row::new(What::Arrow(arrow), format!("{line}{about}"))
        }
    }

    /// Whether this breaks a service: not the end of one that the check stopped or killed.
    fn is_fault(&self, lane: usize, what: &ProcessChange) -> bool {
        match what {
            ProcessChange::Started | ProcessChange::Thawed => false,
            ProcessChange::Ended(_) if change(what) == Change::Left => false,
            ProcessChange::Ended(_) => {
                let last = self.known.changes.get(&lane);
                !matches!(last, Some(Change::Told | Change::Ended))
            }
            ProcessChange::Frozen | ProcessChange::Killed | ProcessChange::Terminated => true,
        }
    }

    fn link(&mut self, service: &str, what: LinkEvent) -> Row {
        let lane = self.known.lanes.of(Kind::Service, service);
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
            ..Row::new(What::Link(lane, what == LinkEvent::Restored), text)
        }
    }

    fn connection(
        &mut self,
        (service, connection): (&str, u32),
        what: &ConnectionEvent,
    ) -> Option<Row> {
        let lane = self.known.lanes.of(Kind::Service, service);
        let open = self.known.open.entry(lane).or_default();
        match what {
            ConnectionEvent::Opened => *open += 1,
            what if what.is_end() => *open = open.saturating_sub(1),
            _ => {}
        }
        self.known.connected.push((lane, *open));
        // A cut of the link, or a kill, is told by a row of its own.
        let fault = matches!(
            what,
            ConnectionEvent::CutBefore(_)
                | ConnectionEvent::HeldBack(_)
                | ConnectionEvent::Unreadable
                | ConnectionEvent::Lost(Loss::ResponseLost)
        );
        if what.is_end() {
            self.connection_gone(service, connection);
        }
        let (whole, text) = match what {
            ConnectionEvent::Opened => (true, "connects".to_owned()),
            // The name of the error is enough here.
            ConnectionEvent::Lost(Loss::Trouble(error)) => {
                (false, format!("connection lost: {}", before_code(error)))
            }
            ConnectionEvent::Closed => return None, // orderly: what follows tells of it
            other => (false, format!("connection {other}")),
        };
        let tip = format!("connection {connection} {what}");
        Some(Row {
            tip,
            fault,
            ..Row::new(What::Link(lane, whole), text)
        })
    }

    fn connection_gone(&mut self, service: &str, connection: u32) {
        self.known
            .depths
            .give_back(|(name, number, _)| name == service && *number == connection);
        self.known
            .confirms
            .forget(|(name, number, _)| name == service && *number == connection);
        self.known
            .prefetch
            .retain(|(name, number, _), _| name != service || *number != connection);
    }

    fn check(&mut self, index: usize, what: &'a CheckEvent) -> Option<Row> {
        match what {
            CheckEvent::Published(frame) => {
                let check = self.known.lanes.of(Kind::Check, "check");
                let moved = self.publish(index, frame, check);
                Some(amqp::told(frame, moved))
            }
            // What its clients held comes back when they lose their connections.
            CheckEvent::BrokerKilled => Some(Row {
                fault: true,
                ..Row::new(What::Change(None, Change::Ended), what.to_string())
            }),
            CheckEvent::BrokerBack => {
                Some(Row::new(What::Change(None, Change::Runs), what.to_string()))
            }
            CheckEvent::QueueDeleted(name) => {
                let queue = self.known.lanes.of(Kind::Queue, name);
                self.known.depths.empty(queue);
                Some(Row {
                    fault: true,
                    ..Row::new(What::Note, what.to_string())
                })
            }
            CheckEvent::QueueBound(frame) => {
                self.known
                    .watched
                    .insert(word(frame, "exchange").to_owned());
                Some(Row::new(What::Note, what.to_string()))
            }
            CheckEvent::QueueDeclared(_) | CheckEvent::Note(_) => {
                Some(Row::new(What::Note, what.to_string()))
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

fn change(what: &ProcessChange) -> Change {
    match what {
        ProcessChange::Started | ProcessChange::Thawed => Change::Runs,
        ProcessChange::Frozen => Change::Frozen,
        ProcessChange::Ended(Exit::Code(0)) => Change::Left,
        ProcessChange::Killed | ProcessChange::Ended(_) => Change::Ended,
        ProcessChange::Terminated => Change::Told,
    }
}
