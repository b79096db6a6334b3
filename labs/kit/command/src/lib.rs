//! What the commands share: a chapter's program built by cargo or as an image, passwords for
//! Compose, and a broker with a word on what takes long.
//!
//! It knows no command. Start reading at [`cargo`].

mod broker;
pub mod cargo;
pub mod containers;
pub mod credentials;
pub mod engine;
pub mod image;
mod which;

pub use broker::acquire;
pub use which::Which;
