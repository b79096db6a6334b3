//! What a service takes and never gives back (a leak), and what it repeats as fast as it can (a
//! storm).
//!
//! This crate knows the journal, and nothing of checks or chapters. Start reading at [`Usage`] and
//! at [`Storms`].

mod storm;
mod usage;

pub use storm::{Repeats, Storm, Storms};
pub use usage::{Links, MAYBE_KEPT, MEMORY, Usage};
