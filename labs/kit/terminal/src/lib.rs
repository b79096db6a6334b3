//! Prints for a person: a few colours, text wrapped at 80 columns, and errors that say what to
//! do.
//!
//! It knows nothing about what is printed. Start reading at [`user_error`].

use std::io::IsTerminal;

mod style;
mod text;
mod user_error;

pub use style::*;
pub use text::{WIDTH, labelled, width, wrap};
pub use user_error::{UNKNOWN, UserError, tell, user_error};

/// Whether a person would see a window of this machine.
#[must_use]
pub fn has_screen() -> bool {
    let graphical = || {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
    };
    std::io::stdout().is_terminal() && graphical()
}
