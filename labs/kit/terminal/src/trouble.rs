//! Prints errors for a person: one line says what is wrong, one what to do.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::style::{BAD, BOLD};
use crate::text::labelled;
use anstream::eprintln;

/// The exit code of every error that is not the student's: *unknown*.
pub const UNKNOWN: u8 = 2;

/// Something is wrong, and this mends it.
#[derive(Debug)]
pub struct Trouble {
    /// What is wrong, in one line.
    what: String,
    /// What to do about it, in one line.
    mend: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Trouble {}

/// An error that says what is wrong and what to do.
pub fn trouble(what: impl Into<String>, mend: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Trouble {
        what: what.into(),
        mend: mend.into(),
    })
}

/// Prints `error`, with its remedy if it has one, and returns the exit code for it.
pub fn tell(error: &anyhow::Error) -> ExitCode {
    print(&format!("{BAD}error{BAD:#}: "), &format!("{error:#}"));
    if let Some(trouble) = error.downcast_ref::<Trouble>() {
        print(&format!("  {BOLD}do{BOLD:#}   "), &trouble.mend);
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
