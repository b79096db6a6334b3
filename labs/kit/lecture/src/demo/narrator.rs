//! Tells the story to a class: sentences, a bar for the queue, and pauses until somebody presses
//! Enter.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstream::{print, println};
use terminal::wrap;
use tokio::sync::oneshot;

use super::queue_bar::draw_bar;
use terminal::{BAD, BOLD, DIM, GOOD, NOTE, TYPE, interactive};

/// The text's width in columns.
const WIDTH: usize = 78;
/// How often a bar is printed where it cannot be redrawn in place.
const PRINT_EVERY: Duration = Duration::from_secs(1);

/// Prints the story.
#[derive(Debug)]
pub struct Narrator {
    /// Whether to go on without Enter.
    auto: bool,
    /// Whether the cursor is at the end of a bar.
    at_bar: Cell<bool>,
    /// When a bar was last printed.
    drawn: Cell<Option<Instant>>,
}

impl Narrator {
    /// A narrator that waits for Enter, unless `auto` is set or this is not a terminal.
    pub fn new(auto: bool) -> Self {
        Self {
            auto: auto || !std::io::stdin().is_terminal() || !interactive(),
            at_bar: Cell::new(false),
            drawn: Cell::new(None),
        }
    }

    /// Prints the heading of an act.
    pub fn begin_act(&self, number: usize, title: &str) {
        self.leave_bar();
        println!("\n{BOLD}{number} · {title}{BOLD:#}");
    }

    /// Prints a paragraph, wrapped.
    pub fn say(&self, text: &str) {
        self.leave_bar();
        for line in wrap(text, WIDTH - 2) {
            println!("  {line}");
        }
    }

    /// Prints an expected event.
    pub fn report_good(&self, text: &str) {
        self.print_marked(&format!("{GOOD}✔{GOOD:#}"), text);
    }

    /// Prints an event that is neither good nor bad.
    pub fn report(&self, text: &str) {
        self.print_marked(&format!("{NOTE}·{NOTE:#}"), text);
    }

    /// Prints what went wrong.
    pub fn report_bad(&self, text: &str) {
        self.print_marked(&format!("{BAD}✘{BAD:#}"), text);
    }

    /// Prints a remark that is not part of the story.
    pub fn remark(&self, text: &str) {
        self.leave_bar();
        println!("\n  {DIM}{text}{DIM:#}");
    }

    fn print_marked(&self, mark: &str, text: &str) {
        self.leave_bar();
        for (index, line) in wrap(text, WIDTH - 4).into_iter().enumerate() {
            let mark = if index == 0 { mark } else { " " };
            println!("  {mark} {line}");
        }
    }

    /// Prints a labelled part of a failure or of the summary.
    pub fn print_part(&self, label: &str, text: &str) {
        self.leave_bar();
        let mut label = label;
        for line in text.lines().flat_map(|line| wrap(line, WIDTH - 16)) {
            println!("      {DIM}{label:<9}{DIM:#} {line}");
            label = "";
        }
    }

    /// Prints a count of the summary.
    pub fn print_count(&self, label: &str, number: u64, words: &str) {
        self.leave_bar();
        println!("  {label:<11}{BOLD}{number:>6}{BOLD:#}  {DIM}{words}{DIM:#}");
    }

    /// Draws the queue's depth: in place on a terminal, else as a line a second.
    pub fn draw_queue(&self, depth: u64) {
        let bar = draw_bar(depth);
        if interactive() {
            print!("\r  {DIM}queue{DIM:#} {NOTE}{bar}{NOTE:#} {depth:>4} ");
            let _ = std::io::stdout().flush();
            self.at_bar.set(true);
            return;
        }
        let due = self
            .drawn
            .get()
            .is_none_or(|at| at.elapsed() >= PRINT_EVERY);
        if due {
            self.drawn.set(Some(Instant::now()));
            println!("  queue {bar} {depth:>4}");
        }
    }

    /// Begins a new line where the cursor is at the end of a bar.
    fn leave_bar(&self) {
        if self.at_bar.replace(false) {
            println!();
        }
        self.drawn.set(None);
    }

    /// Prints what Enter does now; the [`Enter`] tells when it was pressed. None with `auto`.
    pub fn offer_enter(&self, what: &str) -> Option<Enter> {
        if self.auto {
            return None;
        }
        self.leave_bar();
        println!("  {TYPE}Enter{TYPE:#} {DIM}{what}{DIM:#}");
        Some(Enter::listen())
    }

    /// Waits until Enter is pressed; with `auto` it does not wait.
    pub async fn wait_for_enter(&self, what: &str) {
        if let Some(mut enter) = self.offer_enter(what) {
            enter.wait().await;
        }
    }
}

/// Tells whether Enter was pressed. A thread of its own reads the terminal; the thread ends with
/// the process, as a blocked read cannot be cancelled.
pub struct Enter(oneshot::Receiver<()>);

impl Enter {
    fn listen() -> Self {
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_line(&mut String::new());
            let _ = sender.send(());
        });
        Self(receiver)
    }

    /// Waits until Enter is pressed. The end of the input counts, too.
    async fn wait(&mut self) {
        let _ = (&mut self.0).await;
    }

    /// Whether Enter was pressed.
    pub fn was_pressed(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}
