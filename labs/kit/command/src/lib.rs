//! What the commands share: building a chapter's program with cargo or as an image, passwords
//! for Compose, and a broker for a command.
//!
//! It knows no command. Start reading at [`cargo`].

mod acquire;
pub mod cargo;
pub mod container;
pub mod credentials;
pub mod image;
pub mod project;
mod which;

pub use acquire::{acquire, describe_login};
pub use which::Which;
