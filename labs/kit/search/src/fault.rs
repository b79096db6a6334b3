//! A fault, by its place in the protocol: what happens to whom, before or after which frame.
//!
//! It is written as a person types it: `kill finance before basic.ack 2`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use check::wiretap::{Edge, Method, Side};

/// The target of a fault that hits the broker itself.
pub const BROKER: &str = "broker";

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `kill -9`, and a new start.
    Kill,
    /// The link is cut.
    Cut,
    /// From this frame on nothing more arrives in its direction; then the link is cut.
    Swallow,
    /// It stands still for longer than a heartbeat, or than a call may take.
    Freeze,
}

const KINDS: [(&str, Kind); 4] = [
    ("kill", Kind::Kill),
    ("cut", Kind::Cut),
    ("swallow", Kind::Swallow),
    ("freeze", Kind::Freeze),
];

/// What crosses a link, or happens in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// An AMQP method, by its sender.
    Frame(Side, Method),
    /// An HTTP request (of the client) or response (of the server).
    Http(Side),
    /// A commit of the service's database. Faults are tried before it, in the middle of the write.
    Commit,
}

/// All steps, each with its word. A `basic.ack` of the broker confirms a publish.
const STEPS: [(Step, Option<&str>); 10] = [
    (Step::Frame(Side::Client, Method::BasicPublish), None),
    (Step::Frame(Side::Server, Method::BasicAck), Some("confirm")),
    (Step::Frame(Side::Server, Method::BasicReturn), None),
    (Step::Frame(Side::Server, Method::BasicDeliver), None),
    (Step::Frame(Side::Client, Method::BasicAck), None),
    (Step::Frame(Side::Client, Method::BasicReject), None),
    (Step::Frame(Side::Client, Method::BasicNack), None),
    (Step::Http(Side::Client), Some("request")),
    (Step::Http(Side::Server), Some("response")),
    (Step::Commit, Some("commit")),
];

impl Step {
    /// The step of a frame, if faults are tried there.
    #[must_use]
    pub fn of(from: Side, method: Method) -> Option<Self> {
        let step = Self::Frame(from, method);
        STEPS
            .iter()
            .any(|(known, _)| *known == step)
            .then_some(step)
    }

    fn word(self) -> &'static str {
        let word = STEPS.iter().find(|(step, _)| *step == self);
        match (self, word.and_then(|(_, word)| *word)) {
            (_, Some(word)) => word,
            (Self::Frame(_, method), None) => method.name(),
            (Self::Http(_) | Self::Commit, None) => "",
        }
    }
}

/// A place in a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Point {
    /// The service whose link, or database, it is.
    pub at: String,
    /// What crosses there.
    pub step: Step,
    /// The how manieth of its kind, from the first operation on.
    pub nth: usize,
    /// Before or after it.
    pub edge: Edge,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// To which service, or to the [`BROKER`].
    pub target: String,
    /// Where.
    pub point: Point,
}

impl Fault {
    /// Whether the broker is killed: the run needs a node of its own.
    #[must_use]
    pub fn hits_broker(&self) -> bool {
        self.target == BROKER
    }

    /// How soon it is tried, the smallest first: around commit, ack and confirm a program that is
    /// wrong shows it most often; a broker's restart and a freeze take the longest.
    #[must_use]
    pub fn rank(&self) -> (usize, usize, bool) {
        let place = match (self.kind, self.hits_broker()) {
            (Kind::Kill, false) => 0,
            (Kind::Cut, _) => 1,
            (Kind::Swallow, _) => 2,
            (Kind::Kill, true) => 5,
            (Kind::Freeze, _) => 6,
        };
        let swallows = self.kind == Kind::Swallow;
        let far = match (self.point.step, self.point.edge) {
            (Step::Commit, _)
            | (Step::Frame(Side::Client, Method::BasicAck), _)
            | (Step::Frame(Side::Server, Method::BasicAck), Edge::Before)
            | (Step::Http(Side::Server), Edge::Before)
            | (Step::Frame(Side::Client, Method::BasicPublish), Edge::After) => 0,
            (Step::Frame(Side::Client, Method::BasicPublish), _) if swallows => 0,
            _ => 2,
        };
        // The second message is more telling than the first: something went well before it.
        let nth = match self.point.nth {
            2 => 0,
            1 => 1,
            later => later,
        };
        // A commit that waits shows it most surely.
        (place + far, nth, self.point.step != Step::Commit)
    }
}

/// The faults at all points that a clean run has passed, the most telling first. `callers` names for
/// each HTTP link its server.
#[must_use]
pub fn all(
    passed: &BTreeMap<(String, &'static str), (Step, usize)>,
    callers: &BTreeMap<String, String>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for ((at, _), &(step, count)) in passed {
        for nth in 1..=count {
            for edge in [Edge::Before, Edge::After] {
                let point = Point {
                    at: at.clone(),
                    step,
                    nth,
                    edge,
                };
                let hits = hits(&point, callers.get(at));
                faults.extend(hits.into_iter().map(|(kind, target)| Fault {
                    kind,
                    target,
                    point: point.clone(),
                }));
            }
        }
    }
    faults.sort_by_key(Fault::rank);
    faults
}

/// Each two of these faults, the most telling first; the broker's node is killed once a run.
#[must_use]
pub fn pairs(faults: &[Fault]) -> Vec<Vec<Fault>> {
    let mut pairs = Vec::new();
    for (index, one) in faults.iter().enumerate() {
        let others = faults[index + 1..].iter().filter(|other| {
            one.point != other.point && !(one.hits_broker() && other.hits_broker())
        });
        pairs.extend(others.map(|other| vec![one.clone(), other.clone()]));
    }
    pairs.sort_by_key(|pair| pair.iter().map(|fault| fault.rank().0).sum::<usize>());
    pairs
}

/// What can happen at a point, and to whom.
fn hits(point: &Point, server: Option<&String>) -> Vec<(Kind, String)> {
    let own = |kind| (kind, point.at.clone());
    let before = point.edge == Edge::Before;
    let mut hits = vec![own(Kind::Kill)];
    match point.step {
        // After a commit is before the frame, or the commit, that follows it.
        Step::Commit if before => return hits,
        Step::Commit => return Vec::new(),
        Step::Frame(..) => {
            hits.push((Kind::Kill, BROKER.to_owned()));
            hits.extend((!before).then(|| own(Kind::Freeze)));
        }
        Step::Http(_) => hits.extend(server.into_iter().flat_map(|server| {
            let freeze = (!before).then(|| (Kind::Freeze, server.clone()));
            [Some((Kind::Kill, server.clone())), freeze]
                .into_iter()
                .flatten()
        })),
    }
    hits.push(own(Kind::Cut));
    hits.extend(before.then(|| own(Kind::Swallow)));
    hits
}

/// The key under which a clean run's points are counted.
pub fn counted(at: &str, step: Step) -> (String, &'static str) {
    (at.to_owned(), step.word())
}

impl Fault {
    /// The same in a sentence.
    pub fn told(&self) -> String {
        let Self { target, point, .. } = self;
        let Point { at, step, nth, .. } = point;
        let what = match (self.kind, self.hits_broker()) {
            (Kind::Kill, true) => "the broker is killed (kill -9) and started again".to_owned(),
            (Kind::Kill, false) => format!("{target} is killed (kill -9) and started again"),
            (Kind::Cut, _) => format!("the link of {target} is cut"),
            (Kind::Swallow, _) => format!("the link of {target} swallows what comes, and is cut"),
            (Kind::Freeze, _) => format!("{target} stands still"),
        };
        let (from, to, word) = match *step {
            Step::Commit => {
                return format!("{what} while {at} writes to its database, before commit {nth}");
            }
            Step::Frame(Side::Client, method) => (at.as_str(), "the broker", method.name()),
            Step::Frame(Side::Server, method) => ("the broker", at.as_str(), method.name()),
            Step::Http(Side::Client) => (at.as_str(), "the server", step.word()),
            Step::Http(Side::Server) => ("the server", at.as_str(), step.word()),
        };
        match point.edge {
            Edge::Before => {
                format!("{what} when {from} has sent {word} {nth}, and {to} does not have it")
            }
            Edge::After => {
                format!("{what} right after {word} {nth} of {from} has been passed on to {to}")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point {
            at,
            step,
            nth,
            edge,
        } = &self.point;
        let kind = KINDS.iter().find(|(_, kind)| *kind == self.kind);
        let kind = kind.map_or("", |(word, _)| word);
        let edge = match edge {
            Edge::Before => "before",
            Edge::After => "after",
        };
        write!(f, "{kind} {} {edge} {} {nth}", self.target, step.word())?;
        match *at == self.target {
            true => Ok(()),
            false => write!(f, " of {at}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (short, at) = match words.as_slice() {
            [short @ .., "of", at] => (short, Some(*at)),
            short => (short, None),
        };
        let [kind, target, edge, step, nth] = short else {
            return Err("write it as in: kill finance before basic.ack 2".to_owned());
        };
        let kinds = KINDS.iter().find(|(word, _)| word == kind);
        let kind =
            kinds.ok_or_else(|| format!("`{kind}` is none of: kill, cut, swallow, freeze"))?;
        let edge = match *edge {
            "before" => Edge::Before,
            "after" => Edge::After,
            other => return Err(format!("`{other}` is neither `before` nor `after`")),
        };
        let steps = STEPS.iter().find(|(known, _)| known.word() == *step);
        let step = steps.ok_or_else(|| {
            let words: Vec<&str> = STEPS.iter().map(|(known, _)| known.word()).collect();
            format!("`{step}` is none of: {}", words.join(", "))
        })?;
        if step.0 == Step::Commit && edge == Edge::After {
            return Err("a fault comes before a commit: in the middle of the write".to_owned());
        }
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        let nth = nth.ok_or("the last word is a number, from 1")?;
        Ok(Self {
            kind: kind.1,
            target: (*target).to_owned(),
            point: Point {
                at: at.unwrap_or(target).to_owned(),
                step: step.0,
                nth,
                edge,
            },
        })
    }
}
