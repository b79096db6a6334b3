//! Which failures pass, and which ones somebody has to mend.

use anyhow::Error;
use lapin::ErrorKind;

/// The broker's reply codes to which the same question will always get the same answer.
const ACCESS_REFUSED: u16 = 403; // wrong password, or a right that this user does not have
const PRECONDITION_FAILED: u16 = 406; // it is there already, and not as we want it
const NOT_ALLOWED: u16 = 530; // above all: no such vhost, or none of ours

/// Words of RabbitMQ's (3.10 to 4.3) for a refusal that passes, although its code is one of
/// those above. AMQP says also which method was refused; lapin 4.12 keeps code and text only.
const PASSES: [&str; 4] = [
    " in exclusive use", // 403: for now another consumer has the queue for itself
    "delivery acknowledgement on channel", // 406: we acked too late; the message is requeued
    "unknown delivery tag", // 406: acked twice; on a new channel the tags begin anew
    " limit ",           // 530 and 406: as many connections, channels or queues as may be, for now
];

/// Whether trying again cannot help: the broker has understood us, and said no.
///
/// All else may pass. Of the network: a name that is not known yet, refused, unreachable,
/// reset, no answer, no heartbeat. Of the broker: it goes down (320), or has no such queue or
/// exchange yet (404), or has no room for us now ([`PASSES`]).
pub fn hopeless(error: &Error) -> bool {
    // HOLE 3: look for lapin's error among the causes, and in it for the broker's code.
    let lapin = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<lapin::Error>());
    match lapin.map(lapin::Error::kind) {
        Some(ErrorKind::ProtocolError(said)) => {
            let code = said.get_id();
            let text = said.get_message().as_str();
            [ACCESS_REFUSED, PRECONDITION_FAILED, NOT_ALLOWED].contains(&code)
                && !PASSES.iter().any(|words| text.contains(words))
        }
        _ => false,
    }
    // END HOLE 3
}
