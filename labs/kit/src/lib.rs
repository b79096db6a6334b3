//! The lab's own machinery: a real broker, services under check, the wiretap, faults,
//! verdicts, the report, and what the `lab` command does.

pub mod broker;
pub mod internal;
pub mod paths;
