//! The lab's own machinery: a real broker, services under check, the wiretap, faults,
//! verdicts, the report, and what the `lab` command does.

pub mod access;
pub mod broker;
pub mod chapter;
pub mod check;
pub mod guard;
pub mod hints;
pub mod holes;
pub mod internal;
pub mod manifest;
pub mod paths;
pub mod run;
#[cfg(test)]
mod scratch;
pub mod service;

pub use wiretap;
