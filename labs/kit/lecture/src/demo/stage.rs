//! What the story is played on: containers on two hosts, programs on two hosts, or programs
//! on this machine with a relay for a cable.

use std::fmt;

use anyhow::Result;
use broker::Broker;
use check::Row;
use process::Exit;

use hosts::place::Host;

/// The two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// On VM A, beside the broker.
    Producer,
    /// On VM B.
    Consumer,
}

impl Role {
    /// The program's first argument, and the name of its container.
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

/// The queue between them.
pub const QUEUE: &str = "messages";
/// Where what cannot be read ends.
pub const DEAD: &str = "messages.dead";
/// Messages a second.
pub const RATE: u32 = 10;
/// The heartbeat that both ends agree on, in seconds.
pub const HEARTBEAT_S: u64 = 2;

/// What the consumer takes for a message, in milliseconds: so little that it is faster than
/// the producer, so much that a class sees the queue shrink.
pub const WORK_MS: u32 = 20;

/// What the story needs of a stage. Calls may fail with [`Unexpected`], or with trouble that
/// is this machine's.
pub trait Stage {
    /// What plays the two machines and the cable, a line each.
    fn scenery(&self) -> [String; 3];

    /// Makes the machines.
    async fn raise(&self) -> Result<()>;

    /// Starts the broker on VM A and waits until it takes connections.
    async fn start_broker(&self) -> Result<Broker>;

    /// The vhost of it all.
    fn vhost(&self) -> &str;

    /// Starts one of the programs.
    async fn start(&self, role: Role) -> Result<()>;

    /// Asks it to end and waits until it has.
    async fn stop(&self, role: Role) -> Result<()>;

    /// How it ended, if it has though nobody asked it to.
    async fn ended(&self, role: Role) -> Result<Option<End>>;

    /// What it has printed.
    async fn log(&self, role: Role) -> Result<String>;

    /// Pulls the cable between the machines.
    async fn pull(&self) -> Result<()>;

    /// Plugs it in again.
    async fn plug(&self) -> Result<()>;

    /// What the consumer has recorded.
    async fn rows(&self) -> Result<Vec<Row>>;

    /// Takes away what was made, as far as dropping does not.
    async fn strike(&self) -> Result<()>;
}

/// How a program ended that nobody asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its process ended.
    Exit(Exit),
    /// Its container ended, and was started again this often.
    StartedAgain(u32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(exit) => exit.fmt(f),
            Self::StartedAgain(times) => {
                write!(f, "its container was started again {times} times")
            }
        }
    }
}

/// Something did not go as the story has it. Whose fault it is, is not said here.
#[derive(Debug)]
pub struct Unexpected {
    /// What should have been.
    pub expected: String,
    /// What was.
    pub observed: String,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, observed } = self;
        write!(f, "expected {expected}; observed {observed}")
    }
}

impl std::error::Error for Unexpected {}

/// An error that says so.
pub fn unexpected(expected: impl Into<String>, observed: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Unexpected {
        expected: expected.into(),
        observed: observed.into(),
    })
}
