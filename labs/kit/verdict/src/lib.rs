//! How a check ends ([`Outcome`]), and how a run of checks is told: to a person as it goes, and as
//! `report.json` to a program ([`Report`]).
//!
//! It knows no check and starts nothing. Start reading at [`Failure`].

mod outcome;
mod print;
mod report;

pub use outcome::{Condition, Expectation, Failure, Outcome, Seen, Stop, expect, fail};
pub use report::{NO_HOLE, PICTURE, REPLAY, Report, Verdict};
