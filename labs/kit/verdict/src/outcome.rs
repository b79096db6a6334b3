//! How a check ends: it passes, it fails and says why, or its verdict is unknown.

use std::fmt::{self, Display};

/// What a failed check tells the student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the check expected.
    pub expected: String,
    /// What it observed instead.
    pub observed: String,
    /// Why that matters.
    pub why: String,
    /// The hole to look at, if it is another than the check's own.
    pub hole: Option<u32>,
    /// Whether the wire proves it, as it does a wrong flag: it fails on a busy machine, too.
    pub proven: bool,
}

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The services did something wrong.
    Failed(Box<Failure>),
    /// The lab could not finish the check. The services are not at fault.
    Unknown(String),
}

/// What a step of a check returns.
pub type Outcome<T = ()> = Result<T, Stop>;

/// A failure: what was expected and what was observed. Say why it matters with
/// [`Failure::because`].
pub fn fail(expected: impl Display, observed: impl Display) -> Failure {
    Failure {
        expected: expected.to_string(),
        observed: observed.to_string(),
        why: String::new(),
        hole: None,
        proven: false,
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

    /// Says that the wire proves it, however slow the machine is.
    #[must_use]
    pub fn proven(mut self) -> Self {
        self.proven = true;
        self
    }

    /// This failure unless `holds`: for a failure that was made beforehand.
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

/// The condition given to [`expect`].
#[derive(Debug)]
#[must_use]
pub struct Condition(bool);

impl Condition {
    /// What a failure says: what was expected, and what was observed.
    pub fn or(self, expected: impl Display, observed: impl Display) -> Expectation {
        Expectation {
            holds: self.0,
            failure: fail(expected, observed),
        }
    }
}

/// A condition, and the failure if it does not hold.
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

    /// Says that the wire proves it, however slow the machine is.
    pub fn proven(mut self) -> Self {
        self.failure = self.failure.proven();
        self
    }

    /// Adds why it matters, and decides.
    ///
    /// # Errors
    /// The failure, if the condition does not hold.
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

/// Trouble of the lab itself is never the student's failure.
impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure.into(),
            Err(error) => Self::Unknown(format!("{error:#}")),
        }
    }
}

/// What a look at the services has seen, while a check waits for a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T = ()> {
    /// The expected state.
    Yes(T),
    /// Not yet; what was seen instead.
    NotYet(String),
    /// Not yet; the hole to look at, and what was seen instead.
    NotYetFor(u32, String),
}

impl Seen<()> {
    /// The expected state if `holds`, else `instead`.
    pub fn when(holds: bool, instead: impl FnOnce() -> String) -> Self {
        if holds {
            Self::Yes(())
        } else {
            Self::NotYet(instead())
        }
    }
}

impl<T> Seen<T> {
    /// The expected state if there is a `value`, else `instead`.
    pub fn some(value: Option<T>, instead: impl FnOnce() -> String) -> Self {
        value.map_or_else(|| Self::NotYet(instead()), Self::Yes)
    }

    /// Adds the hole to look at if the state is never reached.
    #[must_use]
    pub fn hole(self, hole: u32) -> Self {
        match self {
            Self::NotYet(instead) => Self::NotYetFor(hole, instead),
            other => other,
        }
    }
}
