//! Decides which checks run: those that the holes filled so far let pass, and those of the next hole.
//!
//! The rest would fail for want of that hole, at length, and say nothing new.

use std::path::PathBuf;

use course::chapter::{Chapter, Variant};
use course::holes;

use crate::Check;

/// The open holes of the sources under check.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    /// Where the sources of the program are; `None` for a program that has no holes.
    sources: Option<PathBuf>,
    open: Vec<u32>,
}

impl Ladder {
    /// The ladder of the program under check. `LAB_PROGRAM` names another program than the lab's, and
    /// `LAB_SOURCES` the holes of that one.
    pub fn of(chapter: &Chapter, variant: Variant) -> Self {
        let given = std::env::var_os("LAB_SOURCES").map(PathBuf::from);
        let own = variant == Variant::Lab && std::env::var_os("LAB_PROGRAM").is_none();
        let sources = given.or_else(|| own.then(|| chapter.lab.join("src")));
        let open = sources.as_deref().map(holes::open_in_tree);
        Self {
            open: open.unwrap_or_default(),
            sources,
        }
    }

    /// The folder with the holes, where there is one.
    pub fn sources(&self) -> Option<&PathBuf> {
        self.sources.as_ref()
    }

    /// The first hole that is open.
    pub fn open(&self) -> Option<u32> {
        self.open.first().copied()
    }

    /// Takes from `waiting` the checks up to the first open hole, which can be told now.
    pub fn step(&self, waiting: &mut Vec<Check>) -> Vec<Check> {
        let limit = self.open().unwrap_or(u32::MAX);
        let (now, later) = std::mem::take(waiting)
            .into_iter()
            .partition(|check| check.hole <= limit);
        *waiting = later;
        now
    }

    /// Counts the first open hole as filled: its checks pass, so only its mark is left.
    pub fn climb(&mut self) {
        if !self.open.is_empty() {
            self.open.remove(0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        let check = |name: &str, hole| Check::new(name, "holds", hole, async |_| Ok(()));
        vec![check("a", 1), check("b", 2), check("c", 2), check("d", 4)]
    }

    fn names(checks: &[Check]) -> Vec<&str> {
        checks.iter().map(|check| check.name.as_str()).collect()
    }

    #[test]
    fn the_checks_of_the_first_open_hole_run_and_later_ones_wait() {
        let mut ladder = Ladder {
            sources: None,
            open: vec![2, 4],
        };
        let mut waiting = checks();
        assert_eq!(names(&ladder.step(&mut waiting)), ["a", "b", "c"]);
        assert_eq!(names(&waiting), ["d"]);
        ladder.climb();
        assert_eq!(ladder.open(), Some(4));
        assert_eq!(names(&ladder.step(&mut waiting)), ["d"]);
    }

    #[test]
    fn without_an_open_hole_all_checks_run() {
        let mut waiting = checks();
        assert_eq!(Ladder::default().step(&mut waiting).len(), 4);
        assert!(waiting.is_empty());
    }
}
