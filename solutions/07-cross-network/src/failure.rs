//! Which failures pass, and which ones somebody has to mend.

use anyhow::Error;
use lapin::ErrorKind;

/// The broker's reply codes to which the same question will always get the same answer.
const ACCESS_REFUSED: u16 = 403; // wrong password, or a right that this user does not have
const PRECONDITION_FAILED: u16 = 406; // it is there already, and not as we want it
const NOT_ALLOWED: u16 = 530; // above all: no such vhost, or none of ours

/// Whether trying again cannot help: the broker has understood us, and said no.
///
/// All else may pass. Of the network: a name that is not known yet, refused, unreachable,
/// reset, no answer, no heartbeat. Of the broker: it goes down (320), or has no such queue or
/// exchange yet (404).
pub fn hopeless(error: &Error) -> bool {
    // HOLE 3: look for lapin's error among the causes, and in it for the broker's code.
    let lapin = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<lapin::Error>());
    match lapin.map(lapin::Error::kind) {
        Some(ErrorKind::ProtocolError(said)) => matches!(
            said.get_id(),
            ACCESS_REFUSED | PRECONDITION_FAILED | NOT_ALLOWED
        ),
        _ => false,
    }
    // END HOLE 3
}
