//! What a journal holds: each kind of event.
//!
//! The file has the types as serde derives them ([`super::journal`]). What `Display` prints is for
//! people only: nothing decides by it.

use std::fmt;
use std::time::Duration;

use process::Change;
use serde::{Deserialize, Serialize};

use super::frame::{Frame, Side};
use super::method::Method;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds since the run of the check began.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What an entry tells of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An AMQP method, with its content where it has one.
    Amqp(Frame),
    /// An HTTP request or response on a relay of chapter 01's kind.
    Http {
        /// The role of the service that sends the requests.
        service: String,
        /// Counts that service's connections from 1.
        connection: u32,
        /// What it begins with.
        line: HttpLine,
        /// The first 256 bytes of the body, as text.
        body: String,
    },
    /// Something the check did to a service, or that happened to it.
    Service {
        /// The service's name.
        service: String,
        /// What happened.
        what: Change,
    },
    /// Something the check did to all connections of a service's link.
    Link {
        /// The name of the service whose link it is.
        service: String,
        /// What the check did.
        what: LinkEvent,
    },
    /// Something that happened to one connection of a service's link.
    Connection {
        /// The name of the service whose link it is.
        service: String,
        /// Counts that service's connections from 1.
        connection: u32,
        /// What happened.
        what: ConnectionEvent,
    },
    /// Something the check did itself: to the broker, or as a client of a service.
    Check {
        /// What the check did.
        what: CheckEvent,
    },
    /// How the check ended: the last entry.
    Verdict {
        /// What the check promises, in a sentence.
        says: String,
        /// How it ended.
        ending: Ending,
    },
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It passed.
    Passed,
    /// The services did something wrong.
    Failed {
        /// What was expected.
        expected: String,
        /// What was observed.
        observed: String,
    },
    /// Nothing can be said, for this reason.
    Unknown(String),
}

/// The first line of an HTTP message, without the protocol's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpLine {
    /// `POST /viewed`
    Request {
        /// `POST`
        method: String,
        /// `/viewed`
        path: String,
    },
    /// `200 OK`
    Response {
        /// `200`
        status: u16,
        /// `OK`
        reason: String,
    },
}

/// What the check did to a service's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkEvent {
    /// Every connection was closed; new ones are let in.
    Cut,
    /// Every connection and the port were closed: new connections are refused.
    Refuses,
    /// Every connection was closed; new ones are accepted and closed at once.
    TurnsAway,
    /// Every byte is held back this long.
    Delayed(Duration),
    /// What this side sends no longer arrives.
    Swallows(Side),
    /// This side has nothing more to send: so the other side is told.
    HalfCloses(Side),
    /// The link is whole again.
    Restored,
}

/// What happened to one connection of a service's link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionEvent {
    /// The service connected.
    Opened,
    /// The service connected, and the link closed the connection at once.
    TurnedAway,
    /// The link cut it instead of passing on this method.
    CutBefore(Method),
    /// The check holds this method back, and what follows it.
    HeldBack(Method),
    /// One side sent what is not AMQP; bytes are passed on unread from here on.
    Unreadable,
    /// Both sides have closed it.
    Closed,
    /// It ended in another way.
    Lost(Loss),
}

/// Why a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The check closed all connections of the link.
    ClosedByCheck,
    /// The check had it cut before a method arrived.
    CutByCheck,
    /// The check had an HTTP response lost.
    ResponseLost,
    /// The HTTP client closed it before it had its answer.
    HungUp,
    /// Something else, in the words of the error.
    Trouble(String),
}

/// What the check did itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckEvent {
    /// It killed its own broker with SIGKILL.
    BrokerKilled,
    /// Its own broker lets clients in again.
    BrokerBack,
    /// It publishes this message itself.
    Published(Frame),
    /// It declared a queue itself, with this.
    QueueDeclared(Frame),
    /// It bound a queue itself, with this.
    QueueBound(Frame),
    /// It deleted this queue.
    QueueDeleted(String),
    /// Anything else, for people to read.
    Note(String),
}

impl HttpLine {
    /// Who sends such a line.
    #[must_use]
    pub fn from(&self) -> Side {
        match self {
            Self::Request { .. } => Side::Client,
            Self::Response { .. } => Side::Server,
        }
    }

    /// Whether this is a response that says "done": a status of 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Response { status, .. } if (200..300).contains(status))
    }

    /// Whether this is a response that blames the request: a status of 4xx.
    #[must_use]
    pub fn is_client_error(&self) -> bool {
        matches!(self, Self::Response { status, .. } if (400..500).contains(status))
    }
}

impl ConnectionEvent {
    /// Whether the service tried to connect.
    #[must_use]
    pub fn is_attempt(&self) -> bool {
        matches!(self, Self::Opened | Self::TurnedAway)
    }

    /// Whether an opened connection has ended.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Closed | Self::Lost(_))
    }
}

impl fmt::Display for HttpLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { method, path } => write!(f, "{method} {path}"),
            Self::Response { status, reason } => write!(f, "{status} {reason}"),
        }
    }
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent_by = |side: &Side| match side {
            Side::Client => "what the service sends",
            Side::Server => "what is sent to the service",
        };
        match self {
            Self::Cut => f.write_str("cut"),
            Self::Refuses => f.write_str("refuses connections"),
            Self::TurnsAway => f.write_str("turns connections away"),
            Self::Delayed(delay) => write!(f, "delayed by {} ms", delay.as_millis()),
            Self::Swallows(side) => write!(f, "{} is swallowed", sent_by(side)),
            Self::HalfCloses(side) => write!(f, "{} is half-closed", sent_by(side)),
            Self::Restored => f.write_str("restored"),
        }
    }
}

impl fmt::Display for ConnectionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::TurnedAway => f.write_str("turned away"),
            Self::HeldBack(method) => write!(f, "that {method} held back"),
            Self::CutBefore(method) => write!(f, "cut before that {method} arrives"),
            Self::Unreadable => f.write_str("not AMQP from here on: passed on unread"),
            Self::Closed => f.write_str("closed"),
            Self::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClosedByCheck => "closed by the check",
            Self::CutByCheck => "cut by the check",
            Self::ResponseLost => "response lost by the check",
            Self::HungUp => "the client hung up before it had its answer",
            Self::Trouble(error) => error,
        })
    }
}

impl std::error::Error for Loss {}

impl From<anyhow::Error> for Loss {
    fn from(error: anyhow::Error) -> Self {
        let known = error.downcast::<Self>();
        known.unwrap_or_else(|other| Self::Trouble(format!("{other:#}")))
    }
}

impl fmt::Display for CheckEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BrokerKilled => "broker killed (SIGKILL)",
            Self::BrokerBack => "broker up again",
            Self::Note(text) => text,
            Self::QueueDeclared(frame) => {
                let queue = frame.args["queue"].as_str().unwrap_or_default();
                return write!(f, "queue `{queue}` declared");
            }
            Self::QueueBound(frame) => {
                let word = |name: &str| frame.args[name].as_str().unwrap_or_default();
                let (queue, exchange) = (word("queue"), word("exchange"));
                let key = word("routing_key");
                return write!(
                    f,
                    "queue `{queue}` bound to exchange `{exchange}` with `{key}`"
                );
            }
            Self::QueueDeleted(queue) => return write!(f, "queue `{queue}` deleted"),
            Self::Published(frame) => {
                let key = frame.args["routing_key"].as_str().unwrap_or_default();
                let body = frame.message.as_ref().map_or("", |message| &message.body);
                return write!(f, "published with routing key `{key}`: {body}");
            }
        })
    }
}
