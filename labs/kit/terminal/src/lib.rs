//! How the lab speaks to a person: a few colours, text broken at 80 columns, and errors that
//! say what to do.
//!
//! It knows nothing of what is said.

mod style;
mod text;
mod trouble;

pub use style::*;
pub use text::{WIDTH, width, wrap};
pub use trouble::{Trouble, UNKNOWN, tell, trouble};
