//! Which failures pass, and which ones somebody has to mend.

use std::fmt;

use anyhow::Error;
use lapin::ErrorKind;

/// The broker's reply codes to which the same question will always get the same answer.
const ACCESS_REFUSED: u16 = 403; // wrong password, or a right that this user does not have
const PRECONDITION_FAILED: u16 = 406; // it is there already, and not as we declare it
const NOT_ALLOWED: u16 = 530; // above all: no such vhost

/// The broker's address cannot be read. Says nothing of it, as it has a password in it.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker's URL cannot be read; it should look like amqp://user:password@127.0.0.1:5672/%2f")
    }
}

impl std::error::Error for Unreadable {}

/// Whether trying again cannot help: the broker has understood us, and said no. A network
/// that fails, a broker that is down, a queue that somebody has deleted: all these pass.
///
/// Looks for lapin's error among the causes, so add words with `context`, which keeps them.
#[must_use]
pub fn hopeless(error: &Error) -> bool {
    if error.chain().any(|cause| cause.is::<Unreadable>()) {
        return true;
    }
    let lapin = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<lapin::Error>());
    match lapin.map(lapin::Error::kind) {
        Some(ErrorKind::ProtocolError(error)) => matches!(
            error.get_id(),
            ACCESS_REFUSED | PRECONDITION_FAILED | NOT_ALLOWED
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use lapin::protocol::{AMQPError, AMQPHardError, AMQPSoftError};

    use super::*;

    fn answered(kind: impl Into<lapin::protocol::AMQPErrorKind>) -> Error {
        let answer = AMQPError::new(kind.into(), "said the broker".into());
        lapin::Error::from(ErrorKind::ProtocolError(answer)).into()
    }

    #[test]
    fn a_no_of_the_broker_stays_a_no() {
        for no in [
            AMQPSoftError::ACCESSREFUSED,
            AMQPSoftError::PRECONDITIONFAILED,
        ] {
            assert!(hopeless(&answered(no)));
        }
        assert!(hopeless(&answered(AMQPHardError::NOTALLOWED)));
        let in_context: Result<(), _> = Err(answered(AMQPHardError::NOTALLOWED));
        let in_context = in_context.context("cannot connect").context("no way");
        assert!(in_context.is_err_and(|error| hopeless(&error)));
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_refused_at_once_and_not_shown() {
        let error = crate::connect("amqp://ada:geheim@127.0.0.1:port/x").await;
        let error = error.expect_err("there is no such port");
        assert!(hopeless(&error));
        assert!(!format!("{error:?}").contains("geheim"));
    }

    #[test]
    fn what_passes_is_tried_again() {
        assert!(!hopeless(&answered(AMQPSoftError::NOTFOUND)));
        assert!(!hopeless(&answered(AMQPHardError::CONNECTIONFORCED)));
        assert!(!hopeless(
            &lapin::Error::from(ErrorKind::MissingHeartbeatError).into()
        ));
        assert!(!hopeless(&anyhow!("no answer within 3s")));
    }
}
