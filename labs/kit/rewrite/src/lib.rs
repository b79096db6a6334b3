//! The commands that rewrite a student's sources: `just reset NN` and `just catch-up NN HOLE`. Each keeps
//! a copy of what was there.
//!
//! It knows files, holes and the clone's history; it builds and runs nothing. Start reading at
//! [`catch_up::run`].

pub mod catch_up;
mod copy;
pub mod reset;
