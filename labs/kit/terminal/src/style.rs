//! The few colours in use, and whether a terminal shows them.
//!
//! Text is printed by `anstream`, which removes the colours where they are not wanted: in a
//! pipe, with `NO_COLOR`, on a dumb terminal.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Effects, Style};

/// What stands out.
pub const BOLD: Style = Style::new().effects(Effects::BOLD);
/// What matters less.
pub const DIM: Style = Style::new().effects(Effects::DIMMED);
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// What a person should know.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// What a person can type.
pub const TYPE: Style = AnsiColor::Cyan.on_default();

/// Whether a program that writes to our standard error may use colours.
pub fn colour_on_stderr() -> bool {
    use anstream::ColorChoice::Never;
    anstream::AutoStream::choice(&std::io::stderr()) != Never
}

/// Whether standard output is a terminal that a person watches.
pub fn interactive() -> bool {
    std::io::stdout().is_terminal()
}
