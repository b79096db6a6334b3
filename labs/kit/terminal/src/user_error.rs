//! Prints errors for a person: one line says what is wrong, one what to do.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::style::{BAD, BOLD};
use crate::text::labelled;
use anstream::eprintln;

/// The exit code of every error that is not the student's: *unknown*.
pub const UNKNOWN: u8 = 2;

/// An error that a person can mend.
#[derive(Debug)]
pub struct UserError {
    what: String,
    remedy: String,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for UserError {}

/// An error that says what is wrong and what to do about it, in one line each.
pub fn user_error(what: impl Into<String>, remedy: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(UserError {
        what: what.into(),
        remedy: remedy.into(),
    })
}

/// Prints `error`, with its remedy if it has one, and returns the exit code for it.
pub fn tell(error: &anyhow::Error) -> ExitCode {
    print(&format!("{BAD}error{BAD:#}: "), &format!("{error:#}"));
    if let Some(error) = error.downcast_ref::<UserError>() {
        print(&format!("  {BOLD}do{BOLD:#}   "), &error.remedy);
    }
    ExitCode::from(UNKNOWN)
}

fn print(label: &str, text: &str) {
    match std::io::stderr().is_terminal() {
        true => eprintln!("{}", labelled(label, 7, text)),
        // In a pipe the lines stay whole, so that grep finds them.
        false => eprintln!("{label}{text}"),
    }
}
