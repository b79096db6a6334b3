//! A run as a list of lanes and rows: what a picture shows, without how it looks.

use serde::Serialize;

use crate::depth::Depth;

/// A vertical line of the picture: someone who sends, keeps or gets messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// What it is.
    pub kind: Kind,
    /// Its name, as the program or the broker has it.
    pub name: String,
    /// Whether it is a service that is there to get messages: it stands right of the queues.
    pub gets: bool,
}

/// What a lane stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The check, where it does something itself.
    Check,
    /// A process under check.
    Service,
    /// An exchange; the default one has an empty name.
    Exchange,
    /// A queue.
    Queue,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// When it happened, in seconds since the run began.
    pub t: f64,
    /// When the last of its steps happened: some rows are several.
    pub until: f64,
    /// Between which lanes, or on which.
    pub what: What,
    /// A few words.
    pub text: String,
    /// Everything that the journal has of it.
    pub tip: String,
    /// The messages that it is about, by id.
    pub ids: Vec<String>,
    /// The routing key of its message.
    pub key: Option<String>,
    /// Whether something is broken here on purpose, or breaks: a process, a link, the broker.
    pub fault: bool,
    /// The queues whose depth it changes, and their depth after it.
    pub depths: Vec<(usize, Depth)>,
    /// What begins or ends with it.
    pub ties: Vec<Tie>,
    /// The services whose open connections it changes, and how many they are after it.
    pub open: Vec<(usize, u32)>,
    /// The services whose link it changes, and how the link is after it; empty when whole.
    pub links: Vec<(usize, String)>,
}

/// What stands between two lanes, for as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tie {
    /// What it is.
    pub bond: Bond,
    /// An exchange, or a queue.
    pub from: usize,
    /// A queue, or a service; the same as `from` for what only exists.
    pub to: usize,
    /// The key of a binding.
    pub key: String,
    /// Whether it begins; else it ends.
    pub holds: bool,
}

/// What kind of tie it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bond {
    /// The exchange or queue exists.
    Exists,
    /// The queue is bound to the exchange.
    Binding,
    /// The service consumes from the queue.
    Consumer,
}

/// What a row draws. Numbers are places among the lanes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Something moves.
    Arrow(Arrow),
    /// A service, or with `None` the broker, changes.
    Change(Option<usize>, Change),
    /// Something about the connections of a service, and whether they work after it.
    Link(usize, bool),
    /// The check says or does something.
    Note,
    /// Rows like those above it are left out.
    Folded,
}

/// Something that moves from lane to lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arrow {
    /// Its kind.
    pub sort: Sort,
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// Where the exchange routes it to from there.
    pub routed: Vec<usize>,
    /// Whether it gets lost at its end: no queue takes it.
    pub lost: bool,
}

/// What kind of arrow it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// A declare, a bind, a consume.
    Setup,
    /// `basic.publish`.
    Publish,
    /// The broker's ack of a publish.
    Confirm,
    /// What the broker refuses: its nack, a returned message, a closed channel.
    Refusal,
    /// `basic.deliver` for the first time.
    Deliver,
    /// `basic.deliver` again.
    Redeliver,
    /// A consumer's ack.
    Ack,
    /// A consumer's nack or reject.
    Reject,
    /// An HTTP request.
    Request,
    /// An HTTP response.
    Response,
}

/// How a process changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It runs from here on.
    Runs,
    /// It stands still from here on.
    Frozen,
    /// It has ended with exit code 0.
    Left,
    /// It has ended in another way.
    Ended,
    /// It was told something, and goes on.
    Told,
}

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Story {
    /// From left to right.
    pub lanes: Vec<Lane>,
    /// From the first to the last.
    pub rows: Vec<Row>,
}

impl Row {
    /// A row that says this, about no message, and without an effect on any lane. Its times are 0.
    #[must_use]
    pub fn new(what: What, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            t: 0.0,
            until: 0.0,
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
}

impl Arrow {
    /// An arrow that no exchange routes further.
    #[must_use]
    pub fn new(sort: Sort, from: usize, to: usize) -> Self {
        Self {
            sort,
            from,
            to,
            routed: Vec::new(),
            lost: false,
        }
    }
}
