//! Which failures pass, and which ones need a person.

use anyhow::Error;
use lapin::ErrorKind;

/// The broker's reply codes for a request that it will always refuse.
const ACCESS_REFUSED: u16 = 403; // wrong password, or a right that this user does not have
const PRECONDITION_FAILED: u16 = 406; // it exists, and not as we want it
const NOT_ALLOWED: u16 = 530; // above all: no such vhost, or none of ours

/// RabbitMQ's words (3.10 to 4.3) for a refusal that passes, although its code is one of those
/// above. AMQP also names the refused method; lapin 4.12 keeps only code and text.
const PASSES: [&str; 4] = [
    " in exclusive use", // 403: another consumer has the queue for itself, for now
    "delivery acknowledgement on channel", // 406: we acked too late; the message is requeued
    "unknown delivery tag", // 406: acked twice; a new channel counts from 1 again
    " limit ",           // 530 and 406: too many connections, channels or queues for now
];

/// Whether trying again cannot help: the broker has understood us, and refused.
///
/// Every other failure may pass. Of the network: an unknown name, refused, unreachable, reset,
/// no answer, no heartbeat. Of the broker: it shuts down (320), it has no such queue or
/// exchange yet (404), or a limit is reached ([`PASSES`]).
pub fn hopeless(error: &Error) -> bool {
    // HOLE 6: look for lapin's error among the causes, and in it for the broker's code.
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
    // END HOLE 6
}
