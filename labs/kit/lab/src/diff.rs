//! `diff NN`: shows the lab beside its solution.

use std::process::{Command, ExitCode};

use anstream::eprintln;
use anyhow::Result;
use course::paths::Paths;

use command::Which;
use terminal::NOTE;
use terminal::user_error;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let [lab, solution] =
        [&chapter.lab, &chapter.solution].map(|dir| paths.short(&dir.join("src")));
    eprintln!("{NOTE}·{NOTE:#} this shows the answers: - is {lab}, + is {solution}");
    let mut git = Command::new("git");
    git.current_dir(&paths.root).args(["diff", "--no-index"]);
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        git.arg("--color=never");
    }
    let status = git
        .args(["--", &lab, &solution])
        .status()
        .map_err(|error| {
            user_error(
                format!("git cannot be started: {error}"),
                format!("install git, or compare {lab} and {solution} in your editor"),
            )
        })?;
    // 1 means that there are differences, as expected. A pager that is left early ends git by
    // a signal, which is not an error either.
    match status.code() {
        Some(0 | 1) | None => Ok(ExitCode::SUCCESS),
        Some(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(2))),
    }
}
