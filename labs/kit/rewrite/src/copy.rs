//! Keeps a copy of a student's sources before they are rewritten.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anstream::println;
use anyhow::{Context, Result};
use course::holes;
use course::paths::Paths;
use terminal::{DIM, TYPE};

/// Prints where the student's work is kept, and how to compare it with what is there now.
pub fn tell_kept(copy: &str, now: &str) {
    println!("{DIM}your work{DIM:#} is kept in {copy}");
    println!("{DIM}compare{DIM:#}");
    println!("  {TYPE}git diff --no-index {copy} {now}{TYPE:#}");
}

/// Copies `src` to a new folder under `target/lab/reset`.
pub fn keep(paths: &Paths, src: &Path, chapter: &str) -> Result<PathBuf> {
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
    // The student may have deleted the whole folder; then there is nothing to keep.
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
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_date_u() {
        assert_eq!(timestamp(0), "19700101-000000");
        assert_eq!(timestamp(951_827_696), "20000229-123456");
        assert_eq!(timestamp(1_795_263_326), "20261121-121526");
        assert_eq!(timestamp(4_102_444_799), "20991231-235959");
    }
}
