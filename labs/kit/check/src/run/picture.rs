//! Draws each check's run beside its journal, and makes a page to step through one that failed.

use std::fs;

use tokio::task::spawn_blocking;
use verdict::{PICTURE, REPLAY};
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
    let (journal, dir) = (lab.journal().clone(), lab.dir().to_owned());
    let drawn = spawn_blocking(move || {
        let (story, caption) = journal.read(|entries| {
            let caption = Caption::of(journal.head(), entries);
            (view::story(entries), caption)
        });
        fs::write(dir.join(PICTURE), view::svg(&story, &caption))?;
        match caption.ending {
            Some(Ending::Failed { .. }) => {
                fs::write(dir.join(REPLAY), view::replay(&story, &caption))
            }
            Some(Ending::Passed | Ending::Unknown(_)) | None => Ok(()),
        }
    });
    // A full disk must not change the verdict.
    let _ = drawn.await;
}
