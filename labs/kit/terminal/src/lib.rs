//! Prints for a person: a few colours, text wrapped at 80 columns, and errors that say what to
//! do.
//!
//! It knows nothing about what is printed. Start reading at [`user_error`].

mod style;
mod text;
mod user_error;

pub use style::*;
pub use text::{WIDTH, labelled, width, wrap};
pub use user_error::{UNKNOWN, UserError, tell, user_error};
