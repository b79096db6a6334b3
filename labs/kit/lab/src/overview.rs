//! Prints what `run` and `up` have started: where each service is, and what to try.

use anstream::println;
use anstyle::{AnsiColor, Style};
use course::chapter::{Chapter, Variant};
use course::manifest::ServiceManifest;
use terminal::{BOLD, NOTE, TYPE};

/// One colour a service; a seventh service has the first colour again.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Green,
    AnsiColor::Blue,
    AnsiColor::Red,
];

/// The colour of the service with this index.
pub fn colour(index: usize) -> Style {
    COLOURS[index % COLOURS.len()].on_default()
}

/// Prints the chapter's heading: `Lab 02 · Single queue`, then `more`.
pub fn print_heading(chapter: &Chapter, variant: Variant, more: &str) {
    let (kind, heading) = (variant.title(), chapter.heading());
    println!("{BOLD}{kind} {heading}{more}{BOLD:#}");
}

/// Prints a line for each service, with its text, then the other lines, each with its label.
pub fn print_places(manifest: &ServiceManifest, services: &[String], others: &[(&str, String)]) {
    let names = manifest.services.iter().map(|service| &*service.name);
    let labels = others.iter().map(|(label, _)| *label);
    let width = names.clone().chain(labels).map(str::len).max().unwrap_or(0);
    for (index, (name, text)) in names.zip(services).enumerate() {
        let colour = colour(index);
        println!("  {colour}{name:width$}{colour:#}  {text}");
    }
    for (label, text) in others {
        println!("  {label:width$}  {text}");
    }
}

/// Prints the lines that a person can type.
pub fn print_lines_to_try(heading: &str, lines: &[String]) {
    if !lines.is_empty() {
        println!("{heading}");
    }
    for line in lines {
        println!("  {TYPE}{line}{TYPE:#}");
    }
}

/// The address of a service, with a note when the first port to try was taken.
pub fn address(first: u16, port: u16) -> String {
    match port == first {
        true => format!("http://127.0.0.1:{port}"),
        false => format!("http://127.0.0.1:{port}  {NOTE}({first} is taken){NOTE:#}"),
    }
}
