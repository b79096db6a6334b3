//! `reset NN`: restores the lab's files as handed out, and keeps a copy of the student's.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};

use anstream::println;
use anyhow::{Context, Result, bail};
use course::chapter::{Chapter, Variant};
use course::holes;
use course::paths::Paths;

use crate::copy::{keep, tell_kept};
use command::Which;
use terminal::GOOD;
use terminal::user_error;

/// What `reset` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Restores the files as handed out, and prints where the student's are.
///
/// # Errors
/// When the clone has no history, or a file cannot be written.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    let chapter = args.which.resolve(paths)?;
    let src = chapter.lab.join("src");
    let short = paths.short(&src);
    let commit = handed_out(paths, &chapter, &short)?;
    let changed = changed(paths, &commit, &short)?;
    if changed.is_empty() {
        println!("{short} is as handed out: nothing to do.");
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
    if tracked(paths, &commit, &short)? {
        let source = format!("--source={commit}");
        let from = ["restore", &source, "--staged", "--worktree", "--", &short];
        git(paths, &from)?;
    }
    forget_progress(paths, &chapter)?;
    println!("{GOOD}✔{GOOD:#} {short} is as handed out again:");
    for change in &changed {
        let what = if change.new { "removed" } else { "restored" };
        println!("  {what:<9} {}", change.path);
    }
    tell_kept(&copy, &short);
    Ok(ExitCode::SUCCESS)
}

/// Removes the last report, which is about the work that is gone.
fn forget_progress(paths: &Paths, chapter: &Chapter) -> Result<()> {
    let folder = paths.data().join(chapter.run_folder(Variant::Lab));
    match fs::remove_file(folder.join("report.json")) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("cannot remove the last report")
        }
        _ => Ok(()),
    }
}

/// The commit in which the lab is as a student gets it, however often they have committed
/// their own work since: the newest one in which every hole is open and the rest is like the
/// solution; else the newest with every hole open; else `HEAD`.
fn handed_out(paths: &Paths, chapter: &Chapter, short: &str) -> Result<String> {
    let solution = chapter.solution.join("src");
    let holes: Vec<u32> = holes::in_tree(&solution).map_or_else(
        |_| Vec::new(),
        |places| places.iter().map(|place| place.hole.number).collect(),
    );
    let mut with_holes_open = None;
    // `changed` reports a history that can't be read, as before the first commit.
    let commits = git(paths, &["rev-list", "HEAD", "--", short]).unwrap_or_default();
    for commit in commits.lines() {
        let lab = sources(paths, commit, short)?;
        if !all_open(&lab, &holes) {
            continue;
        }
        if like(&lab, &solution) {
            return Ok(commit.to_owned());
        }
        with_holes_open.get_or_insert_with(|| commit.to_owned());
    }
    Ok(with_holes_open.unwrap_or_else(|| "HEAD".to_owned()))
}

/// The Rust sources under `short` in a commit, each with its path below it.
fn sources(paths: &Paths, commit: &str, short: &str) -> Result<Vec<(String, String)>> {
    let all = ["ls-tree", "-r", "-z", "--name-only", commit, "--", short];
    let listed = git(paths, &all)?;
    let rust = listed.split('\0').filter(|path| path.ends_with(".rs"));
    rust.map(|path| {
        let text = git(paths, &["show", &format!("{commit}:{path}")])?;
        let below = path.strip_prefix(short).unwrap_or(path);
        Ok((below.trim_start_matches('/').to_owned(), text))
    })
    .collect()
}

/// Whether each of these holes exists and is open.
fn all_open(sources: &[(String, String)], holes: &[u32]) -> bool {
    let open = |number: &u32| {
        sources.iter().any(|(_, text)| {
            let parsed = holes::parse(text).unwrap_or_default();
            let mut hole = parsed.iter().filter(|hole| hole.number == *number);
            hole.any(|hole| holes::is_open(text, hole))
        })
    };
    !holes.is_empty() && holes.iter().all(open)
}

/// Whether these sources are the solution's outside the holes.
fn like(lab: &[(String, String)], solution: &Path) -> bool {
    lab.iter().all(|(file, text)| {
        let theirs = fs::read_to_string(solution.join(file)).unwrap_or_default();
        matches!((holes::blank(text), holes::blank(&theirs)), (Ok(a), Ok(b)) if a == b)
    })
}

/// One file that is not as handed out.
struct Change {
    /// Relative to the root.
    path: String,
    /// Not in the commit.
    new: bool,
}

fn changed(paths: &Paths, commit: &str, short: &str) -> Result<Vec<Change>> {
    // Compared to the commit file by file, so that renames and staged files need no special case.
    let differs = git(
        paths,
        &[
            "diff",
            "--name-status",
            "--relative",
            "--no-renames",
            "-z",
            commit,
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
        // A file that left only the index is in both lists; it comes from the commit.
        if !changes.iter().any(|change| change.path == path) {
            changes.push(Change {
                path: path.to_owned(),
                new: true,
            });
        }
    }
    Ok(changes)
}

/// Whether the commit has files there; `git restore` refuses an unknown path.
fn tracked(paths: &Paths, commit: &str, short: &str) -> Result<bool> {
    Ok(!git(paths, &["ls-tree", commit, "--", short])?.is_empty())
}

fn git(paths: &Paths, args: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .current_dir(&paths.root)
        .args(args)
        .output()
        .map_err(|error| {
            user_error(
                format!("git cannot be started: {error}"),
                "install git; `reset` takes the files from the clone's history",
            )
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().next().unwrap_or("no reason given");
    if words.contains("not a git repository") {
        return Err(user_error(
            "this folder is not a git clone, so there is no commit to restore from",
            "get the lab by `git clone`, or unpack it again",
        ));
    }
    bail!("git {}: {words}", args.first().unwrap_or(&""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    fn reset(paths: &Paths) -> ExitCode {
        let which = Which {
            chapter: "2".to_owned(),
        };
        run(paths, &Args { which }).unwrap()
    }

    /// A clone of which all is committed, once it has its files.
    struct Clone {
        scratch: Scratch,
        paths: Paths,
    }

    impl Clone {
        fn new(name: &str) -> Self {
            let scratch = Scratch::new(name);
            let root = scratch.path().canonicalize().unwrap();
            let target = root.join("target");
            scratch.write(".gitignore", "/target");
            let paths = Paths { target, root };
            git(&paths, &["init", "-q"]).unwrap();
            Self { scratch, paths }
        }

        fn commit(&self) {
            let name = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"];
            git(&self.paths, &["add", "-A"]).unwrap();
            git(&self.paths, &[&name[..], &["commit", "-qm", "x"]].concat()).unwrap();
        }

        fn kept(&self, file: &str) -> String {
            let resets = fs::read_dir(self.paths.data().join("reset")).unwrap();
            let kept: Vec<_> = resets.collect();
            assert_eq!(kept.len(), 1);
            fs::read_to_string(kept[0].as_ref().unwrap().path().join(file)).unwrap()
        }
    }

    #[test]
    fn committed_work_is_reset_to_what_was_handed_out() {
        let clone = Clone::new("reset-committed");
        let hole = |number: u32, inside: &str| {
            format!("// HOLE {number}: do it.\n{inside}\n// END HOLE {number}\n")
        };
        let lab = "labs/02-queue/src/main.rs";
        let first = hole(1, "todo!(\"HOLE 1: do it\")") + &hole(2, "// Naive: no.\nno()");
        let solved = hole(1, "do_it()") + &hole(2, "yes()");
        clone.scratch.write(lab, &(first.clone() + "old"));
        clone
            .scratch
            .write("solutions/02-queue/src/main.rs", &solved);
        clone.commit();
        clone.scratch.write(lab, &first);
        clone.commit();
        // The student commits a comment outside the holes, then work, then markers' loss.
        clone.scratch.write(lab, &(first.clone() + "// mine"));
        clone.commit();
        clone.scratch.write(lab, &solved);
        clone.scratch.write("labs/02-queue/src/mine.rs", "mine");
        clone.commit();
        clone.scratch.write(lab, "no markers at all");
        clone.commit();

        reset(&clone.paths);
        let now = fs::read_to_string(clone.paths.root.join(lab)).unwrap();
        assert_eq!(now, first);
        assert!(!clone.paths.root.join("labs/02-queue/src/mine.rs").exists());
        assert_eq!(clone.kept("main.rs"), "no markers at all");
        assert_eq!(clone.kept("mine.rs"), "mine");
        // Twice is once.
        reset(&clone.paths);
        assert_eq!(clone.kept("mine.rs"), "mine");
    }

    #[test]
    fn edited_deleted_staged_and_new_files_come_back_as_committed_and_are_kept() {
        let clone = Clone::new("reset");
        let Clone { scratch, paths } = &clone;
        let root = &paths.root;
        let src = "labs/02-queue/src";
        for file in ["a.rs", "b.rs", "c.rs"] {
            scratch.write(&format!("{src}/{file}"), "committed");
        }
        scratch.write("labs/01-http/src/a.rs", "committed");
        clone.commit();
        reset(paths);
        assert!(!paths.data().exists(), "nothing to do, nothing kept");

        scratch.write(&format!("{src}/a.rs"), "my work");
        fs::remove_file(root.join(src).join("b.rs")).unwrap();
        scratch.write(&format!("{src}/staged.rs"), "my work");
        git(paths, &["add", &format!("{src}/staged.rs")]).unwrap();
        git(paths, &["rm", "-q", "--cached", &format!("{src}/c.rs")]).unwrap();
        scratch.write(&format!("{src}/deep/new.rs"), "my work");
        scratch.write("labs/01-http/src/a.rs", "not to be touched");
        reset(paths);

        let status = git(paths, &["status", "--porcelain", "-uall"]).unwrap();
        assert_eq!(status, " M labs/01-http/src/a.rs\n");
        for file in ["a.rs", "staged.rs", "deep/new.rs"] {
            assert_eq!(clone.kept(file), "my work", "{file}");
        }
    }
}
