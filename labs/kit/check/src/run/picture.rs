//! Draws each check's run beside its journal, and makes a page to step through one that failed.

use std::fs;

use verdict::{PICTURE, REPLAY};
use view::{Caption, Ending};

use crate::{Lab, Outcome, Stop};

/// Draws the run of the check that `says` this, and ended so.
pub(super) fn draw(lab: &Lab, says: &str, outcome: &Outcome) {
    let ending = match outcome {
        Ok(()) => Ending::Passed,
        Err(Stop::Failed(failure)) => Ending::Failed {
            expected: failure.expected.clone(),
            observed: failure.observed.clone(),
        },
        Err(Stop::Unknown(reason)) => Ending::Unknown(reason.clone()),
    };
    let caption = Caption {
        chapter: lab.title(),
        says: says.to_owned(),
        ending,
    };
    let story = lab.journal().read(view::story);
    // A full disk must not change the verdict.
    let _ = fs::write(lab.dir().join(PICTURE), view::svg(&story, &caption));
    if let Ending::Failed { .. } = caption.ending {
        let _ = fs::write(lab.dir().join(REPLAY), view::replay(&story, &caption));
    }
}
