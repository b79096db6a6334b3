//! Draws each check's run, beside its journal.

use std::fs;

use tokio::task::spawn_blocking;
use verdict::PICTURE;
use view::Caption;
use wiretap::Ending;

use crate::{Lab, Outcome, Stop};

/// How a check ended, for its journal.
pub(super) fn ending(outcome: &Outcome) -> Ending {
    match outcome {
        Ok(()) => Ending::Passed,
        Err(Stop::Failed(failure)) => Ending::Failed {
            expected: failure.expected.clone(),
            observed: failure.observed.clone(),
        },
        Err(Stop::Unknown(reason)) => Ending::Unknown(reason.clone()),
    }
}

/// Draws the run of a check that has ended, while other checks go on.
pub(super) async fn draw(lab: &Lab) {
    let (journal, file) = (lab.journal().clone(), lab.dir().join(PICTURE));
    let drawn = spawn_blocking(move || {
        let picture = journal.read(|entries| {
            let caption = Caption::of(journal.head(), entries);
            view::svg(&view::story(entries), &caption)
        });
        fs::write(file, picture)
    });
    // A full disk must not change the verdict.
    let _ = drawn.await;
}
