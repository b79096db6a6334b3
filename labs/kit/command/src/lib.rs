//! What the commands share: building a chapter's program with cargo or as an image, or one of its
//! wrong answers; running its checks on any program; what its services find around them; passwords for
//! Compose, and a broker.
//!
//! It knows no command. Start reading at [`cargo`].

mod acquire;
pub mod cargo;
pub mod checks;
pub mod container;
pub mod crates;
pub mod credentials;
pub mod environment;
pub mod image;
pub mod project;
pub mod quiet_cargo;
mod which;

pub use acquire::{acquire, describe_login};
pub use which::Which;
