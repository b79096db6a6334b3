//! How the story is told: sentences for a class, a bar for the queue, and a pause until
//! somebody presses Enter.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstream::{print, println};
use terminal::wrap;
use tokio::sync::oneshot;

use super::bar::bar;
use terminal::{BAD, BOLD, DIM, GOOD, NOTE, TYPE, interactive};

/// The text's width in columns.
const WIDTH: usize = 78;
/// Where no bar can be redrawn in place, a line of it comes this often.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The voice of the story.
#[derive(Debug)]
pub struct Talk {
    /// Whether to go on without being asked.
    auto: bool,
    /// Whether there is a bar on the line of the cursor.
    open: Cell<bool>,
    drawn: Cell<Option<Instant>>,
}

impl Talk {
    /// Waits for Enter unless `auto`, or nobody can press it.
    pub fn new(auto: bool) -> Self {
        Self {
            auto: auto || !std::io::stdin().is_terminal() || !interactive(),
            open: Cell::new(false),
            drawn: Cell::new(None),
        }
    }

    /// The heading of an act.
    pub fn act(&self, number: usize, title: &str) {
        self.close();
        println!("\n{BOLD}{number} · {title}{BOLD:#}");
    }

    /// A paragraph, wrapped.
    pub fn say(&self, text: &str) {
        self.close();
        for line in wrap(text, WIDTH - 2) {
            println!("  {line}");
        }
    }

    /// Something that happened as it should.
    pub fn good(&self, text: &str) {
        self.point(&format!("{GOOD}✔{GOOD:#}"), text);
    }

    /// Something that happened, and is neither good nor bad.
    pub fn note(&self, text: &str) {
        self.point(&format!("{NOTE}·{NOTE:#}"), text);
    }

    /// Something that went wrong.
    pub fn bad(&self, text: &str) {
        self.point(&format!("{BAD}✘{BAD:#}"), text);
    }

    /// Something about the telling itself.
    pub fn aside(&self, text: &str) {
        self.close();
        println!("\n  {DIM}{text}{DIM:#}");
    }

    fn point(&self, mark: &str, text: &str) {
        self.close();
        for (index, line) in wrap(text, WIDTH - 4).into_iter().enumerate() {
            let mark = if index == 0 { mark } else { " " };
            println!("  {mark} {line}");
        }
    }

    /// A labelled part of a failure, or of the last page.
    pub fn part(&self, label: &str, text: &str) {
        self.close();
        let mut label = label;
        for line in text.lines().flat_map(|line| wrap(line, WIDTH - 16)) {
            println!("      {DIM}{label:<9}{DIM:#} {line}");
            label = "";
        }
    }

    /// A number of the last page.
    pub fn count(&self, label: &str, number: u64, words: &str) {
        self.close();
        println!("  {label:<11}{BOLD}{number:>6}{BOLD:#}  {DIM}{words}{DIM:#}");
    }

    /// Draws how much the broker holds: in place on a terminal, else a line a second.
    pub fn bar(&self, depth: u64) {
        let bar = bar(depth);
        if interactive() {
            print!("\r  {DIM}queue{DIM:#} {NOTE}{bar}{NOTE:#} {depth:>4} ");
            let _ = std::io::stdout().flush();
            self.open.set(true);
            return;
        }
        let due = self.drawn.get().is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if due {
            self.drawn.set(Some(Instant::now()));
            println!("  queue {bar} {depth:>4}");
        }
    }

    /// Leaves the bar as it is, and begins a new line.
    fn close(&self) {
        if self.open.replace(false) {
            println!();
        }
        self.drawn.set(None);
    }

    /// What a person can do now; then [`Enter`] tells when they have. None with `auto`.
    pub fn ask(&self, what: &str) -> Option<Enter> {
        if self.auto {
            return None;
        }
        self.close();
        println!("  {TYPE}Enter{TYPE:#} {DIM}{what}{DIM:#}");
        Some(Enter::new())
    }

    /// Waits until Enter is pressed; not at all with `auto`.
    pub async fn pause(&self, what: &str) {
        if let Some(mut enter) = self.ask(what) {
            enter.pressed().await;
        }
    }
}

/// Somebody who may press Enter. The reading is done by a thread that nobody waits for: it
/// ends with the process.
pub struct Enter(oneshot::Receiver<()>);

impl Enter {
    fn new() -> Self {
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_line(&mut String::new());
            let _ = sender.send(());
        });
        Self(receiver)
    }

    /// Waits for it. Also the end of the input counts: nobody can press anything any more.
    pub async fn pressed(&mut self) {
        let _ = (&mut self.0).await;
    }

    /// Whether it was pressed.
    pub fn was_pressed(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}
