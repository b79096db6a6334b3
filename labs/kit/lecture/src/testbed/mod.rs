//! What the story and the checks run on: a broker, a producer and a consumer on two machines
//! with a cable between them. Three testbeds implement it: containers on two hosts, programs
//! on two hosts, and programs on this machine with a relay as the cable.

mod containers_on_hosts;
mod counts;
mod kind;
mod last_lines;
mod local_programs;
mod observer;
mod programs;
mod programs_on_hosts;

use std::fmt;

use anyhow::Result;
use broker::Broker;
use broker::access::Login;
use check::{Row, fail};
use course::manifest::Lecture;
use process::Exit;

pub use containers_on_hosts::{ContainersOnHosts, broker_image};
pub use counts::{Counts, ReceivedCounts, SentCounts, count_received, count_sent, event_in};
use hosts::host::Host;
pub use kind::Kind;
pub use last_lines::last_lines;
pub use local_programs::LocalPrograms;
pub use observer::{NOTICED, Observer, QueueState, SOON};
pub use programs_on_hosts::ProgramsOnHosts;

/// The two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// On VM A, beside the broker.
    Producer,
    /// On VM B.
    Consumer,
}

impl Role {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Producer, Self::Consumer];

    /// The program's first argument, its user at the broker and its service in Compose.
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// Where it runs.
    pub fn host(self) -> Host {
        match self {
            Self::Producer => Host::A,
            Self::Consumer => Host::B,
        }
    }
}

/// How many messages the producer sends in a second.
pub const RATE: u32 = 10;
/// The heartbeat interval that both programs ask for, in seconds.
pub const HEARTBEAT_S: u64 = 2;
/// How long the consumer works on a message, in milliseconds: short enough to be faster than the
/// producer, long enough for a class to see the queue shrink.
pub const WORK_MS: u32 = 20;

/// The machines, the cable, the broker and the two programs. An error is a [`check::Failure`] of
/// the programs, or trouble of this machine.
pub trait Testbed {
    /// What the manifest says of the chapter.
    fn lecture(&self) -> &Lecture;

    /// What VM A, VM B and the cable are here, a line each.
    fn describe(&self) -> [String; 3];

    /// Creates the machines.
    async fn set_up(&self) -> Result<()>;

    /// Starts the broker on VM A and waits until it accepts connections.
    async fn start_broker(&self) -> Result<Broker>;

    /// The vhost that the programs use.
    fn vhost(&self) -> &str;

    /// Starts one of the programs.
    async fn start(&self, role: Role) -> Result<()>;

    /// Asks a program to end and waits until it has.
    async fn stop(&self, role: Role) -> Result<()>;

    /// How a program ended that was not asked to; none while it runs.
    async fn unasked_end(&self, role: Role) -> Result<Option<ProgramEnd>>;

    /// What a program has printed.
    async fn log(&self, role: Role) -> Result<String>;

    /// Pulls the cable between the machines.
    async fn pull_cable(&self) -> Result<()>;

    /// Plugs the cable in again.
    async fn plug_in_cable(&self) -> Result<()>;

    /// The rows that the consumer has recorded.
    async fn rows(&self) -> Result<Vec<Row>>;

    /// Removes everything that outlives the testbed's own value.
    async fn tear_down(&self) -> Result<()>;
}

/// A testbed on hosts, with what only the checks need: other settings and other faults.
pub trait HostTestbed: Testbed {
    /// The login of a program.
    fn login(&self, role: Role) -> &Login;

    /// Starts the consumer with changed settings; it is not restarted when it ends.
    async fn start_changed(&self, changed: ChangedSettings<'_>) -> Result<()>;

    /// Makes `name` resolve to VM A's address on the consumer's machine.
    async fn resolve(&self, name: &str) -> Result<()>;

    /// Ends both programs and removes their logs and databases.
    async fn clear(&self) -> Result<()>;

    /// What the broker has logged.
    async fn broker_log(&self) -> Result<String>;
}

/// The settings of the consumer that a check changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChangedSettings<'a> {
    /// A name for the broker's host that does not resolve before [`HostTestbed::resolve`].
    pub host: Option<&'a str>,
    /// Another password.
    pub password: Option<&'a str>,
}

/// A line for `/etc/hosts` that makes `name` VM A's.
fn hosts_line(name: &str) -> String {
    format!("{} {name}\n", Host::A.address())
}

/// How a program ended that was not asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramEnd {
    /// Its process ended.
    Exit(Exit),
    /// Its container ended and was restarted so many times.
    Restarted(u32),
}

impl fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::Restarted(times) => {
                write!(f, "its container was restarted {times} times")
            }
        }
    }
}

/// A failure of the programs, as an error.
pub fn unexpected(expected: impl fmt::Display, observed: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(fail(expected, observed))
}
