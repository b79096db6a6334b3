//! Errors as a person reads them: one line what is wrong, one what to do.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::style::{BAD, BOLD};
use crate::text::wrap;
use anstream::eprintln;

/// The exit code of everything that is not the student's code: *unknown*.
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

/// Tells a person of `error` and returns the exit code for it.
pub fn tell(error: &anyhow::Error) -> ExitCode {
    eprintln!("{BAD}error{BAD:#}: {}", laid_out(&format!("{error:#}")));
    if let Some(trouble) = error.downcast_ref::<Trouble>() {
        eprintln!("  {BOLD}do{BOLD:#}   {}", laid_out(&trouble.mend));
    }
    ExitCode::from(UNKNOWN)
}

/// The text in lines of a terminal's width, the further ones under the first. In a pipe it
/// stays on one line, so that grep finds it.
fn laid_out(text: &str) -> String {
    const INDENT: usize = 7;
    if !std::io::stderr().is_terminal() {
        return text.to_owned();
    }
    let paragraphs = text.split('\n');
    let lines = paragraphs.flat_map(|paragraph| wrap(paragraph, 80 - INDENT));
    lines.collect::<Vec<_>>().join(&format!("\n{:INDENT$}", ""))
}
