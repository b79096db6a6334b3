//! A chapter's two parts: A, the pattern, and B, what the services do when things fail.
//!
//! The last hole of part A is in the lab's manifest, `[package.metadata.lab]`, `part-a = 4`. What a part
//! has taught is in the chapter's README, under `### After part A`.

use std::fmt;
use std::fs;
use std::path::Path;

/// One of the two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A message flows.
    A,
    /// Things fail.
    B,
}

impl Part {
    /// Both, in their order.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The heading over its checks.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::A => "Part A · the pattern",
            Self::B => "Part B · when things fail",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "part A",
            Self::B => "part B",
        })
    }
}

/// Where part A of a chapter ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The last hole of part A.
    pub last_of_a: u32,
}

impl Parts {
    /// The parts of the chapter whose lab is in this folder; `None` if its manifest names none. Reads the
    /// one line: to ask cargo for the manifest would take longer than many a run of checks.
    #[must_use]
    pub fn of(lab: &Path) -> Option<Self> {
        let manifest = fs::read_to_string(lab.join("Cargo.toml")).ok()?;
        let line = manifest
            .lines()
            .find_map(|line| line.strip_prefix("part-a = "));
        let last_of_a = line?.trim().parse().ok()?;
        Some(Self { last_of_a })
    }

    /// The part that a hole belongs to.
    #[must_use]
    pub fn part(self, hole: u32) -> Part {
        match hole > self.last_of_a {
            true => Part::B,
            false => Part::A,
        }
    }
}

/// What stands in a chapter's README under `### After part A`: what was learnt, what to discuss, what
/// comes next. Empty if nothing does.
#[must_use]
pub fn after(readme: &str, part: Part) -> String {
    let heading = format!("### After {part}");
    let lines = readme.lines().skip_while(|line| line.trim() != heading);
    let lines = lines.skip(1).take_while(|line| !line.starts_with('#'));
    let text: Vec<&str> = lines.collect();
    text.join("\n").trim().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    #[test]
    fn the_manifest_says_where_part_a_ends() {
        let lab = Scratch::new("parts");
        assert_eq!(Parts::of(lab.path()), None);
        lab.write(
            "Cargo.toml",
            "[package.metadata.lab]\npart-a = 4\nminutes = [50, 70]\n",
        );
        let parts = Parts::of(lab.path()).unwrap();
        assert_eq!((parts.part(4), parts.part(5)), (Part::A, Part::B));
    }

    #[test]
    fn what_was_learnt_ends_at_the_next_heading() {
        let readme = "# 02\n### After part A\n\n- one\n- two\n\nNext: B\n\n## Part B\n- no\n";
        assert_eq!(after(readme, Part::A), "- one\n- two\n\nNext: B");
        assert_eq!(after(readme, Part::B), "");
    }
}
