//! The `lab` command: the justfile's recipes that students type call it.
//!
//! One file a command. It may use every crate below it. `predict` and `hunt` are in `quiz`, `reset`
//! and `catch-up` in `rewrite`; the lecture and the bench are programs of their own. Start reading
//! at [`start`].

mod broker;
mod check;
mod diff;
mod doctor;
mod here;
mod hint;
mod overview;
mod picture;
mod run;
mod saves;
mod search;
mod setup;
mod shared_broker;
mod up;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use course::chapter::Variant;
use course::paths::Paths;

/// The lab's commands. `just` lists them with a line of help each.
#[derive(Debug, Parser)]
#[command(bin_name = "just", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say where you are, and how to go on
    Here,
    /// Check your lab
    Lab(check::Args),
    /// Check the solution, with the same checks
    Solution(check::Args),
    /// Try every fault at every message of your lab
    Search(search::Args),
    /// Print the next hint for a hole
    Hint(hint::Args),
    /// Show your lab beside the solution
    Diff(diff::Args),
    /// Open the picture of a check's last run
    Picture(picture::Args),
    /// Step through a check's last run in a browser
    Replay(picture::RunArgs),
    /// Check your lab again at each save
    Watch(watch::Args),
    /// Put your lab's files back as handed out
    Reset(rewrite::reset::Args),
    /// Fill the holes before one from the solution, so that a class stays together
    CatchUp(rewrite::catch_up::Args),
    /// Ask what a run will show, then run it
    Predict(quiz::predict::Args),
    /// Run a wrong answer, and ask which hole is wrong and why
    Hunt(quiz::hunt::Args),
    /// Start the chapter's services, or one program of it, to try by hand
    Run(run::Args),
    /// Start the chapter's services in containers, or one program of it beside them
    Up(up::Args),
    /// Remove the chapter's containers
    Down(up::DownArgs),
    /// Show what the chapter's containers print
    Logs(up::LogsArgs),
    /// Build an image and push it to a registry
    Push(up::PushArgs),
    /// Start or stop the lab's broker, or say what runs
    Broker(broker::Args),
    /// Say what is installed, which broker would be used, what to do
    Doctor,
    /// Get a broker, fetch and build everything
    Setup,
}

fn main() -> ExitCode {
    // This program is also the broker's keeper and a service's guard.
    ::broker::dispatch();
    let current = || Some(here::current(&Paths::find().ok()?).ok()?.number);
    let cli = Cli::parse_from(with_chapter(std::env::args_os().collect(), current));
    start(cli.command).unwrap_or_else(|error| terminal::tell(&error))
}

/// The commands that go on with the current chapter when no number is typed.
const GO_ON: [&str; 8] = [
    "lab", "search", "watch", "hint", "picture", "replay", "predict", "hunt",
];

/// `just lab` without a number goes on with the `current` chapter, and so do its like.
fn with_chapter(
    mut typed: Vec<OsString>,
    current: impl FnOnce() -> Option<String>,
) -> Vec<OsString> {
    let word = |index: usize| typed.get(index).map(|word| word.to_string_lossy());
    let goes_on = word(1).is_some_and(|command| GO_ON.contains(&&*command));
    let named =
        word(2).is_some_and(|word| !word.starts_with('-') || word == "--help" || word == "-h");
    if goes_on
        && !named
        && let Some(chapter) = later(&mut typed).or_else(|| current().map(OsString::from))
    {
        typed.insert(2, chapter);
    }
    typed
}

/// Takes out the number that stands last, as in `just lab --part a 02`. The value of a flag, as in
/// `--seed 7`, is no chapter.
fn later(typed: &mut Vec<OsString>) -> Option<OsString> {
    let [.., before, last] = typed.as_slice() else {
        return None;
    };
    let number = last.to_str()?.bytes().all(|byte| byte.is_ascii_digit());
    let value = before.to_str()?.starts_with("--");
    (typed.len() > 3 && number && !value).then(|| typed.pop())?
}

fn start(command: Command) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match command {
        Command::Here => here::run(&paths),
        Command::Lab(args) => check::run(&paths, Variant::Lab, &args),
        Command::Solution(args) => check::run(&paths, Variant::Solution, &args),
        Command::Search(args) => search::run(&paths, &args),
        Command::Hint(args) => hint::run(&paths, &args),
        Command::Diff(args) => diff::run(&paths, &args),
        Command::Picture(args) => picture::run(&paths, &args),
        Command::Replay(args) => picture::replay(&paths, &args),
        Command::Watch(args) => watch::run(&paths, &args),
        Command::Reset(args) => rewrite::reset::run(&paths, &args),
        Command::CatchUp(args) => rewrite::catch_up::run(&paths, &args),
        Command::Predict(args) => quiz::predict::run(&paths, &args),
        Command::Hunt(args) => quiz::hunt::run(&paths, &args),
        Command::Run(args) => run::run(&paths, &args),
        Command::Up(args) => up::run(&paths, &args),
        Command::Down(args) => up::down(&paths, &args),
        Command::Logs(args) => up::logs(&paths, &args),
        Command::Push(args) => up::push(&paths, &args),
        Command::Broker(args) => broker::run(&paths, &args),
        Command::Doctor => doctor::run(&paths),
        Command::Setup => setup::run(&paths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_number_lab_goes_on_with_the_current_chapter() {
        let line = |typed: &str| {
            let words = typed.split(' ').map(OsString::from).collect();
            let words = with_chapter(words, || Some("05".to_owned())).into_iter();
            let words: Vec<_> = words
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            words.join(" ")
        };
        assert_eq!(line("just lab"), "just lab 05");
        assert_eq!(line("just lab --part a"), "just lab 05 --part a");
        assert_eq!(line("just lab --part a 02"), "just lab 02 --part a");
        assert_eq!(line("just lab --seed 7"), "just lab 05 --seed 7");
        assert_eq!(line("just hint"), "just hint 05");
        assert_eq!(line("just lab 02"), "just lab 02");
        assert_eq!(line("just lab --help"), "just lab --help");
        assert_eq!(line("just run"), "just run", "it needs a number");
    }
}
