//! How a check ends: it passes, it fails and says why, or nothing can be said.

use std::fmt::{self, Display};

/// What a failed check tells the student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What should have been seen.
    pub expected: String,
    /// What was seen instead.
    pub observed: String,
    /// Why that matters.
    pub why: String,
    /// The hole to look at, when it is known better than the check's own.
    pub hole: Option<u32>,
}

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The services did something wrong.
    Failed(Box<Failure>),
    /// The check could not be carried through, and that is not the services' doing.
    Unknown(String),
}

/// What a step of a check gives.
pub type Outcome<T = ()> = Result<T, Stop>;

/// A failure: what was expected and what was observed. Say why it matters with
/// [`Failure::because`].
pub fn fail(expected: impl Display, observed: impl Display) -> Failure {
    Failure {
        expected: expected.to_string(),
        observed: observed.to_string(),
        why: String::new(),
        hole: None,
    }
}

impl Failure {
    /// Adds why it matters.
    #[must_use]
    pub fn because(mut self, why: impl Display) -> Self {
        self.why = why.to_string();
        self
    }

    /// Adds the hole to look at.
    #[must_use]
    pub fn hole(mut self, hole: u32) -> Self {
        self.hole = Some(hole);
        self
    }

    /// This failure unless `holds`: for one that was made beforehand, as a [`Span`](super::Span)
    /// takes it.
    ///
    /// # Errors
    /// This failure.
    pub fn unless(self, holds: bool) -> Outcome {
        if holds { Ok(()) } else { Err(self.into()) }
    }
}

/// A condition that must hold, as in
/// `expect(queue.durable).or("a durable queue", "a transient one").because("…")?`.
pub fn expect(holds: bool) -> Condition {
    Condition(holds)
}

/// What [`expect`] was given.
#[derive(Debug)]
#[must_use]
pub struct Condition(bool);

impl Condition {
    /// What is said where the condition does not hold: what was expected, and what was observed.
    pub fn or(self, expected: impl Display, observed: impl Display) -> Expectation {
        Expectation {
            holds: self.0,
            failure: fail(expected, observed),
        }
    }
}

/// A condition, and the failure where it does not hold.
#[derive(Debug)]
#[must_use]
pub struct Expectation {
    holds: bool,
    failure: Failure,
}

impl Expectation {
    /// Adds the hole to look at.
    pub fn hole(mut self, hole: u32) -> Self {
        self.failure = self.failure.hole(hole);
        self
    }

    /// Adds why it matters, and decides.
    ///
    /// # Errors
    /// The failure, where the condition does not hold.
    pub fn because(self, why: impl Display) -> Outcome {
        match self.holds {
            true => Ok(()),
            false => Err(self.failure.because(why).into()),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, observed) = (&self.expected, &self.observed);
        write!(f, "expected {expected}; observed {observed}")
    }
}

/// A failure can pass through functions that give trouble of the lab's own, too.
impl std::error::Error for Failure {}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Trouble of the lab's own machinery is never the student's failure.
impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Unknown(format!("{error:#}"))
    }
}

/// What a probe of [`Lab::eventually`](super::Lab::eventually) has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T = ()> {
    /// What was waited for.
    Yes(T),
    /// Not yet; this instead.
    NotYet(String),
    /// Not yet; this instead, and the hole to look at if it stays so.
    NotYetFor(u32, String),
}

impl Seen<()> {
    /// What was waited for, when `holds`; else what was seen instead.
    pub fn when(holds: bool, instead: impl FnOnce() -> String) -> Self {
        if holds {
            Self::Yes(())
        } else {
            Self::NotYet(instead())
        }
    }
}

impl<T> Seen<T> {
    /// What was waited for, when there is a `value`; else what was seen instead.
    pub fn some(value: Option<T>, instead: impl FnOnce() -> String) -> Self {
        value.map_or_else(|| Self::NotYet(instead()), Self::Yes)
    }

    /// Adds the hole to look at if what was waited for never comes.
    #[must_use]
    pub fn hole(self, hole: u32) -> Self {
        match self {
            Self::NotYet(instead) => Self::NotYetFor(hole, instead),
            other => other,
        }
    }
}
