//! The output of a run: lines that stay, as libtest prints them, and a status line that is replaced at
//! each change. Without a terminal, the status is a line every 15 s.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstream::AutoStream;

/// How often to print the status when it cannot be replaced.
const NOW_AND_THEN: Duration = Duration::from_secs(15);
/// A longer status would wrap into two lines, and only the second one could be replaced.
const WIDTH: usize = 79;

/// Standard output.
pub struct Screen {
    is_terminal: bool,
    status: String,
    printed: Option<Instant>,
}

impl Screen {
    /// A screen without a status.
    pub fn new() -> Self {
        Self {
            is_terminal: std::io::stdout().is_terminal(),
            status: String::new(),
            printed: None,
        }
    }

    /// Prints lines that stay, above the status.
    pub fn print(&mut self, lines: &str) {
        let status = self.shown();
        write(&format!("{}{lines}\n{status}", self.clear()));
    }

    /// Replaces the status.
    pub fn status(&mut self, status: String) {
        self.status = status;
        if self.is_terminal {
            write(&format!("{}{}", self.clear(), self.shown()));
        } else if self
            .printed
            .is_none_or(|then| then.elapsed() >= NOW_AND_THEN)
        {
            self.printed = Some(Instant::now());
            write(&format!("{}\n", self.status));
        }
    }

    /// Prints lines that stay, and ends the status.
    pub fn end(&mut self, lines: &str) {
        self.status.clear();
        self.print(lines);
    }

    fn shown(&self) -> String {
        match self.is_terminal {
            true => self.status.chars().take(WIDTH).collect(),
            false => String::new(),
        }
    }

    fn clear(&self) -> &'static str {
        if self.is_terminal { "\r\x1b[K" } else { "" }
    }
}

fn write(text: &str) {
    let mut out = AutoStream::auto(std::io::stdout());
    // An error means that nobody reads the output; the exit code is enough.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
