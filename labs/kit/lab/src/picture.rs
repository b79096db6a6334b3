//! `picture NN [CHECK]` and `replay NN [CHECK]`: open what a check's last run left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::{eprintln, println};
use anyhow::{Context, Result, bail};
use course::chapter::Variant;
use course::paths::Paths;
use course::report::{Line, Report, Status};
use verdict::{PICTURE, REPLAY};
use view::{Caption, Story};
use wiretap::journal;

use command::Which;
use terminal::{NOTE, has_screen, user_error};

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// The check's name; by default the first one that failed
    check: Option<String>,
    /// The last run of the solution, not of your lab
    #[arg(long)]
    solution: bool,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    of: RunArgs,
    /// Print a sequence diagram for Markdown instead
    #[arg(long)]
    mermaid: bool,
}

/// What a check's last run left.
struct Left {
    folder: PathBuf,
    /// The command that runs the checks again.
    again: String,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let left = left(paths, &args.of)?;
    if args.mermaid {
        let (story, caption) = told(&left)?;
        print!("{}", view::mermaid(&story, &caption));
        return Ok(ExitCode::SUCCESS);
    }
    open(paths, &left.folder.join(PICTURE), &left.again)
}

/// Opens the page to step through a run. A check that did not fail has left none, so it is made.
pub fn replay(paths: &Paths, args: &RunArgs) -> Result<ExitCode> {
    let left = left(paths, args)?;
    let page = left.folder.join(REPLAY);
    if !page.is_file() {
        let (story, caption) = told(&left)?;
        let made = fs::write(&page, view::replay(&story, &caption));
        made.with_context(|| format!("cannot write {}", paths.short(&page)))?;
    }
    open(paths, &page, &left.again)
}

fn left(paths: &Paths, args: &RunArgs) -> Result<Left> {
    let chapter = args.which.resolve(paths)?;
    let variant = match args.solution {
        true => Variant::Solution,
        false => Variant::Lab,
    };
    let dir = paths.data().join(chapter.run_folder(variant));
    let number = &chapter.number;
    let again = format!("just {variant} {number}");
    let report = Report::read(&dir.join("report.json")).ok_or_else(|| {
        user_error(
            format!("chapter {number} has no run to show"),
            format!("{again}   runs its checks, and draws each"),
        )
    })?;
    let line = chosen(&report, args.check.as_deref(), &again)?;
    let folder = dir.join(&line.check);
    Ok(Left { folder, again })
}

/// The check of this name, or the first one that failed, or else the first one.
fn chosen<'a>(report: &'a Report, name: Option<&str>, again: &str) -> Result<&'a Line> {
    let lines = || report.checks.iter();
    let found = match name {
        Some(name) => lines().find(|line| line.check == name),
        None => lines()
            .find(|line| line.status == Status::Fail)
            .or_else(|| lines().next()),
    };
    let names: Vec<_> = lines().map(|line| &*line.check).collect();
    found.ok_or_else(|| {
        user_error(
            match name {
                Some(name) => format!("the last run had no check `{name}`"),
                None => "the last run had no check".to_owned(),
            },
            match &*names {
                [] => format!("{again}   runs the checks"),
                names => format!("choose one of: {}", names.join(", ")),
            },
        )
    })
}

/// The run as its journal tells it; what cannot be read is named.
fn told(left: &Left) -> Result<(Story, Caption)> {
    let recorded = journal::read(&left.folder.join("journal.jsonl"))?;
    for unread in &recorded.unread {
        eprintln!("{NOTE}·{NOTE:#} {}", unread.why);
    }
    let caption = Caption::of(&recorded.head, &recorded.entries);
    Ok((view::story(&recorded.entries), caption))
}

/// Shows the file where there is a screen, and prints where it is.
fn open(paths: &Paths, file: &Path, again: &str) -> Result<ExitCode> {
    if !file.is_file() {
        bail!(user_error(
            format!("there is no {}", paths.short(file)),
            format!("{again}   draws it"),
        ));
    }
    println!("{}", paths.short(file));
    if !has_screen() {
        eprintln!("{NOTE}·{NOTE:#} open it in a browser");
    } else if let Err(error) = open::that_detached(file) {
        eprintln!("{NOTE}·{NOTE:#} open it in a browser: no program did ({error})");
    }
    Ok(ExitCode::SUCCESS)
}
