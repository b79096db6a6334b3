//! The command line of a check program: the lab's own flags, and those that `cargo test`
//! and editors give to any test program.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::Check;
use course::parts::{Part, Parts};

/// What a check program is told.
#[derive(Debug, Clone, Default, Parser)]
#[command(about = "Runs a chapter's checks against its services")]
pub struct Arguments {
    /// Run this check only (may be given again).
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Run checks whose name contains this.
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Take FILTER as a whole name.
    #[arg(long)]
    pub exact: bool,
    /// Draw the same random data as an earlier run.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write the verdict to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// List the checks.
    #[arg(long)]
    pub list: bool,
    /// Run all checks, also those that need a hole which is still open.
    #[arg(long)]
    pub all: bool,
    /// Run the checks of one part of the chapter: a or b.
    #[arg(long, value_name = "PART", value_parser = part)]
    pub part: Option<Part>,
    #[command(flatten)]
    ignored: Ignored,
}

/// A part of the chapter, as a person types it.
fn part(typed: &str) -> Result<Part, &'static str> {
    match typed {
        "a" | "A" => Ok(Part::A),
        "b" | "B" => Ok(Part::B),
        _ => Err("a chapter has the parts a and b"),
    }
}

/// Flags of libtest that an editor may send and that change nothing here.
#[derive(Debug, Clone, Default, clap::Args)]
struct Ignored {
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    no_capture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(short = 'Z', hide = true)]
    unstable: Option<String>,
}

impl Arguments {
    /// What was typed for this package; a slip ends the program. Its usage begins as a person
    /// types it, `just lab 02`, and not with the name of this program.
    pub(super) fn typed(package: &str) -> Self {
        let command = Self::command().bin_name(format!("just {}", package.replace('-', " ")));
        let parsed = command.try_get_matches();
        let typed = parsed.and_then(|matches| Self::from_arg_matches(&matches));
        typed.unwrap_or_else(|error| error.exit())
    }

    /// Those that ask for the checks of these names; for all where there is none.
    #[must_use]
    pub fn only(names: &[String]) -> Self {
        Self {
            only: names.to_vec(),
            ..Self::default()
        }
    }

    /// The checks that are asked for.
    ///
    /// # Errors
    /// When a name is no check's.
    pub fn wanted(&self, checks: Vec<Check>) -> Result<Vec<Check>> {
        let known: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        if let Some(wrong) = self
            .only
            .iter()
            .find(|name| !known.contains(&name.as_str()))
        {
            bail!(
                "no check is called `{wrong}` here; the checks are:\n  {}",
                known.join("\n  ")
            );
        }
        let finds = |word: &&String| known.iter().any(|name| name.contains(word.as_str()));
        if let Some(word) = self.filter.iter().find(|word| !finds(word)) {
            bail!("no check's name contains `{word}`; a part is --part a");
        }
        Ok(checks
            .into_iter()
            .filter(|check| self.wants(&check.name))
            .collect())
    }

    /// Those of `checks` that are of the part asked for.
    ///
    /// # Errors
    /// When a part is asked for in a chapter that has none.
    pub fn of_part(&self, checks: Vec<Check>, parts: Option<Parts>) -> Result<Vec<Check>> {
        let Some(part) = self.part else {
            return Ok(checks);
        };
        let parts = parts.context("this chapter has no parts: leave --part out")?;
        let of_part = |check: &Check| parts.part(check.hole) == part;
        Ok(checks.into_iter().filter(of_part).collect())
    }

    /// Whether the student picked single checks: then exactly these run.
    #[must_use]
    pub fn picks(&self) -> bool {
        !self.only.is_empty() || !self.filter.is_empty()
    }

    fn wants(&self, name: &str) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|only| only == name);
        let filtered = self.filter.is_empty()
            || self.filter.iter().any(|filter| {
                if self.exact {
                    name == filter
                } else {
                    name.contains(filter.as_str())
                }
            });
        // No check is marked to be ignored, so who asks for the ignored ones gets none.
        named && filtered && !self.ignored.ignored
    }

    /// Lists the checks as libtest does when asked for its terse format, for tools.
    pub(super) fn print_list(&self, checks: &[Check]) {
        let terse = self.ignored.format.is_some();
        for check in checks.iter().filter(|check| self.wants(&check.name)) {
            if terse {
                anstream::println!("{}: test", check.name);
            } else {
                anstream::println!("{:<24} {}", check.name, check.says);
            }
        }
    }
}
