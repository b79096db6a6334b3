//! `reset NN`: the lab's files as committed, with a copy of what was there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use anstream::println;
use anyhow::{Context, Result, bail};
use kit::holes;
use kit::paths::Paths;

use crate::Which;
use crate::term::{DIM, GOOD, TYPE};
use crate::trouble::trouble;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let src = chapter.lab.join("src");
    let short = paths.short(&src);
    let changed = changed(paths, &short)?;
    if changed.is_empty() {
        println!("{short} is as committed: nothing to do.");
        return Ok(ExitCode::SUCCESS);
    }
    let copy = keep(paths, &src, &chapter.name)?;
    let copy = paths.short(&copy);
    for change in changed.iter().filter(|change| change.new) {
        let path = paths.root.join(&change.path);
        if path.is_file() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", change.path))?;
        }
    }
    if tracked(paths, &short)? {
        let from = ["restore", "--source=HEAD", "--staged", "--worktree", "--"];
        git(paths, &[from.as_slice(), &[&short]].concat())?;
    }
    println!("{GOOD}✔{GOOD:#} {short} is as committed again:");
    for change in &changed {
        let what = if change.new { "removed" } else { "restored" };
        println!("  {what:<9} {}", change.path);
    }
    println!("{DIM}your work{DIM:#} is kept in {copy}");
    println!("{DIM}compare{DIM:#}   {TYPE}git diff --no-index {copy} {short}{TYPE:#}");
    Ok(ExitCode::SUCCESS)
}

/// One file that is not as committed.
struct Change {
    /// Relative to the root.
    path: String,
    /// Not in the commit.
    new: bool,
}

fn changed(paths: &Paths, short: &str) -> Result<Vec<Change>> {
    // Compared to HEAD file by file, so that renames and staged files need no special case.
    let differs = git(
        paths,
        &[
            "diff",
            "--name-status",
            "--relative",
            "--no-renames",
            "-z",
            "HEAD",
            "--",
            short,
        ],
    )?;
    let mut fields = differs.split('\0').filter(|field| !field.is_empty());
    let mut changes = Vec::new();
    while let (Some(status), Some(path)) = (fields.next(), fields.next()) {
        changes.push(Change {
            path: path.to_owned(),
            new: status == "A",
        });
    }
    let others = git(
        paths,
        &[
            "ls-files",
            "--others",
            "--exclude-standard",
            "-z",
            "--",
            short,
        ],
    )?;
    for path in others.split('\0').filter(|path| !path.is_empty()) {
        // What left the index only is in both lists, and comes back from the commit.
        if !changes.iter().any(|change| change.path == path) {
            changes.push(Change {
                path: path.to_owned(),
                new: true,
            });
        }
    }
    Ok(changes)
}

/// Whether the commit has files there at all; `git restore` refuses a path that it does not know.
fn tracked(paths: &Paths, short: &str) -> Result<bool> {
    Ok(!git(paths, &["ls-tree", "HEAD", "--", short])?.is_empty())
}

fn git(paths: &Paths, args: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(&paths.root)
        .args(args)
        .output()
        .map_err(|error| {
            trouble(
                format!("git cannot be started: {error}"),
                "install git; `reset` takes the files from the last commit",
            )
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().next().unwrap_or("no reason given");
    if words.contains("not a git repository") {
        return Err(trouble(
            "this folder is no git clone, so there is no commit to go back to",
            "get the lab by `git clone`, or unpack it again",
        ));
    }
    bail!("git {}: {words}", args.first().unwrap_or(&""))
}

/// Copies `src` to a new folder under `target/lab/reset`.
fn keep(paths: &Paths, src: &Path, chapter: &str) -> Result<PathBuf> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let base = paths.data().join("reset");
    let stamp = timestamp(now.as_secs());
    // Two resets in one second must not share a folder.
    let copy = (1..)
        .map(|n| match n {
            1 => base.join(format!("{stamp}-{chapter}")),
            n => base.join(format!("{stamp}-{chapter}-{n}")),
        })
        .find(|dir| !dir.exists())
        .context("no name is free")?;
    let failed = || {
        format!(
            "cannot keep a copy in {}; nothing was changed",
            copy.display()
        )
    };
    fs::create_dir_all(&copy).with_context(failed)?;
    // Someone may have deleted the whole folder; then there is nothing to keep.
    if src.is_dir() {
        for file in holes::files(src)? {
            let to = copy.join(&file);
            let dir = to.parent().unwrap_or(&copy);
            fs::create_dir_all(dir).with_context(failed)?;
            fs::copy(src.join(&file), &to).with_context(failed)?;
        }
    }
    Ok(copy)
}

/// `20260131-235959` in UTC.
fn timestamp(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days after 1970: years begin in March, so that
    // the leap day comes last.
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn timestamps_are_those_of_date_u() {
        assert_eq!(timestamp(0), "19700101-000000");
        assert_eq!(timestamp(951_827_696), "20000229-123456");
        assert_eq!(timestamp(1_795_263_326), "20261121-121526");
        assert_eq!(timestamp(4_102_444_799), "20991231-235959");
    }

    fn reset(paths: &Paths) -> ExitCode {
        let which = Which {
            chapter: "2".to_owned(),
        };
        run(paths, &Args { which }).unwrap()
    }

    #[test]
    fn edited_deleted_staged_and_new_files_come_back_as_committed_and_are_kept() {
        let scratch = Scratch::new("reset");
        let root = scratch.path().canonicalize().unwrap();
        let paths = Paths {
            target: root.join("target"),
            root: root.clone(),
        };
        let src = "labs/02-queue/src";
        for file in ["a.rs", "b.rs", "c.rs"] {
            scratch.write(&format!("{src}/{file}"), "committed");
        }
        scratch.write("labs/01-http/src/a.rs", "committed");
        scratch.write(".gitignore", "/target");
        let name = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"];
        git(&paths, &["init", "-q"]).unwrap();
        git(&paths, &["add", "-A"]).unwrap();
        git(&paths, &[&name[..], &["commit", "-qm", "x"]].concat()).unwrap();
        reset(&paths);
        assert!(!paths.data().exists(), "nothing to do, nothing kept");

        scratch.write(&format!("{src}/a.rs"), "my work");
        fs::remove_file(root.join(src).join("b.rs")).unwrap();
        scratch.write(&format!("{src}/staged.rs"), "my work");
        git(&paths, &["add", &format!("{src}/staged.rs")]).unwrap();
        git(&paths, &["rm", "-q", "--cached", &format!("{src}/c.rs")]).unwrap();
        scratch.write(&format!("{src}/deep/new.rs"), "my work");
        scratch.write("labs/01-http/src/a.rs", "not to be touched");
        reset(&paths);

        let status = git(&paths, &["status", "--porcelain", "-uall"]).unwrap();
        assert_eq!(status, " M labs/01-http/src/a.rs\n");
        let kept: Vec<_> = fs::read_dir(paths.data().join("reset")).unwrap().collect();
        assert_eq!(kept.len(), 1);
        let kept = kept[0].as_ref().unwrap().path();
        let read = |file| fs::read_to_string(kept.join(file)).unwrap();
        for file in ["a.rs", "staged.rs", "deep/new.rs"] {
            assert_eq!(read(file), "my work", "{file}");
        }
    }
}
