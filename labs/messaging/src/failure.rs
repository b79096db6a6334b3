//! Decides whether a retry can help. Chapter 02 retries every failure, and chapter 07 decides this
//! itself (its HOLE 3); chapters 03 to 06 end with the broker's words where a retry cannot help.

use std::fmt;

use anyhow::Error;
use lapin::ErrorKind;

/// The broker's reply codes that a retry does not change.
const ACCESS_REFUSED: u16 = 403; // wrong password, or a right that this user does not have
const PRECONDITION_FAILED: u16 = 406; // it exists, and not as we declare it
const NOT_ALLOWED: u16 = 530; // above all: no such vhost

/// RabbitMQ's words (3.10 to 4.3) for a refusal that passes, although its code is one of those
/// above. AMQP also names the method that was refused; lapin 4.12 keeps code and text only.
const PASSES: [&str; 4] = [
    " in exclusive use", // 403: another consumer has the queue for itself, for now
    "delivery acknowledgement on channel", // 406: we acked too late; the message is requeued
    "unknown delivery tag", // 406: acked twice; a new channel starts its tags at 1
    " limit ", // 530 and 406: the highest number of connections, channels or queues, for now
];

/// The broker's URL cannot be read. Its text leaves the URL out, which holds the password.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker's URL cannot be read; it should look like amqp://user:password@127.0.0.1:5672/%2f")
    }
}

impl std::error::Error for Unreadable {}

/// Whether a retry cannot help: the broker understood the request and refused it. These failures
/// pass: a network that fails, a broker that is down, a queue that somebody deleted or
/// has for itself, a limit that is reached, an ack that came too late.
///
/// Finds lapin's error among the causes; add words with `context`, which keeps the causes.
#[must_use]
pub fn hopeless(error: &Error) -> bool {
    if error.chain().any(|cause| cause.is::<Unreadable>()) {
        return true;
    }
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
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use lapin::protocol::{AMQPError, AMQPHardError, AMQPSoftError};

    use super::*;

    fn answered(kind: impl Into<lapin::protocol::AMQPErrorKind>) -> Error {
        said(kind, "said the broker")
    }

    fn said(kind: impl Into<lapin::protocol::AMQPErrorKind>, text: &str) -> Error {
        let answer = AMQPError::new(kind.into(), text.into());
        lapin::Error::from(ErrorKind::ProtocolError(answer)).into()
    }

    /// What RabbitMQ 3.10.8 and 4.3.6 answered on 2026-11-25.
    #[test]
    fn the_same_code_may_pass_or_not() {
        let not_allowed = |text: &str| hopeless(&said(AMQPHardError::NOTALLOWED, text));
        for passes in [
            "NOT_ALLOWED - access to vhost 'lim' refused for user 'guest': connection limit (0) is reached",
            "NOT_ALLOWED - connection refused for user 'ada': user connection limit (0) is reached",
            "NOT_ALLOWED - number of channels opened for user 'ada' has reached the maximum allowed user limit of (0)",
        ] {
            assert!(!not_allowed(passes), "{passes}");
        }
        let refused = |text: &str| hopeless(&said(AMQPSoftError::ACCESSREFUSED, text));
        assert!(!refused(
            "ACCESS_REFUSED - queue 'messages' in vhost 'lab-03' in exclusive use"
        ));
        assert!(refused(
            "ACCESS_REFUSED - read access to queue 'messages' in vhost 'lab-03' refused for user 'ada'"
        ));
        assert!(not_allowed("NOT_ALLOWED - vhost nowhere not found"));
        assert!(not_allowed(
            "NOT_ALLOWED - access to vhost '/' refused for user 'ada'"
        ));
        let failed = |text: &str| hopeless(&said(AMQPSoftError::PRECONDITIONFAILED, text));
        for passes in [
            "PRECONDITION_FAILED - delivery acknowledgement on channel 8 timed out. Timeout value used: 2000 ms. This timeout value can be configured, see consumers doc guide to learn more",
            "PRECONDITION_FAILED - unknown delivery tag 1",
            "PRECONDITION_FAILED - cannot declare queue 'a': queue limit in vhost 'lim' (0) is reached",
        ] {
            assert!(!failed(passes), "{passes}");
        }
        for stays in [
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'plain' in vhost '/': received 'false' but current is 'true'",
            "PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue 'bad' in vhost '/': \"expected integer, got longstr\"",
            "PRECONDITION_FAILED - message size 17825792 is larger than configured max size 16777216",
        ] {
            assert!(failed(stays), "{stays}");
        }
    }

    #[test]
    fn a_refusal_stays_a_refusal() {
        for refusal in [
            AMQPSoftError::ACCESSREFUSED,
            AMQPSoftError::PRECONDITIONFAILED,
        ] {
            assert!(hopeless(&answered(refusal)));
        }
        assert!(hopeless(&answered(AMQPHardError::NOTALLOWED)));
        let in_context: Result<(), _> = Err(answered(AMQPHardError::NOTALLOWED));
        let in_context = in_context.context("cannot connect").context("no way");
        assert!(in_context.is_err_and(|error| hopeless(&error)));
    }

    #[test]
    fn a_refusal_is_said_once() {
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.";
        let refused: Result<(), _> = Err(said(AMQPSoftError::ACCESSREFUSED, text));
        let refused = refused.context("cannot connect").expect_err("refused");
        let told = common::logging::causes(&refused);
        assert_eq!(told.matches(text).count(), 1, "{told}");
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_refused_at_once_and_not_shown() {
        let error = crate::connect("amqp://ada:geheim@127.0.0.1:port/x").await;
        let error = error.expect_err("there is no such port");
        assert!(hopeless(&error));
        assert!(!format!("{error:?}").contains("geheim"));
    }

    #[test]
    fn a_failure_that_passes_is_retried() {
        assert!(!hopeless(&answered(AMQPSoftError::NOTFOUND)));
        assert!(!hopeless(&answered(AMQPHardError::CONNECTIONFORCED)));
        assert!(!hopeless(
            &lapin::Error::from(ErrorKind::MissingHeartbeatError).into()
        ));
        assert!(!hopeless(&anyhow!("no answer within 3s")));
    }
}
