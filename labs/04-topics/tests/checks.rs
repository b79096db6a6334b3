//! What chapter 04's producers and consumers must do, and which faults they must survive.

mod causes;
mod consumer;
mod logs;
mod oracle;
mod producer;
mod topics;
mod trouble;

use check::{Check, Checks, Topic};

use consumer::{recorded_first, resumes};
use producer::{alternate, long_key, not_confirmed, producer_cut, sent, unroutable};
use topics::{
    binding, mail_shot, memory, nasty_keys, once, patterns, ready, removed, replaced,
    share_and_copy, wildcards,
};
use trouble::{no_permission, wrong_place, wrong_type};

/// As the kit's own: names a check after its function. What the wire shows explains its failure.
macro_rules! check {
    ($body:ident, HOLE $hole:literal, $says:literal) => {
        Check::new(stringify!($body), $says, $hole, |lab| {
            causes::judged(lab, $hole, $body)
        })
    };
}

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Confirm => 3,
        Topic::Routing | Topic::Durability | Topic::Consume | Topic::NoAck | Topic::Settle => 1,
    },
    all: vec![
        check!(binding, HOLE 1, "a message arrives at a queue that is bound with its key"),
        check!(ready, HOLE 1, "a consumer says `ready` when all its bindings exist").patient(),
        check!(recorded_first, HOLE 1, "a message is acked after it is recorded").patient(),
        check!(resumes, HOLE 1, "a consumer without its queue or its link comes back").patient(),
        check!(wildcards, HOLE 2, "the exchange is a durable topic exchange: `log.#` matches"),
        check!(wrong_type, HOLE 2, "an exchange of another type ends both with a clear error"),
        check!(sent, HOLE 3, "each message is published under its key, and confirmed"),
        check!(patterns, HOLE 3, "random keys: a queue gets exactly what its patterns match"),
        check!(nasty_keys, HOLE 3, "empty keys, empty words and no words match as AMQP says"),
        check!(once, HOLE 3, "a message that matches several bindings is delivered once"),
        check!(share_and_copy, HOLE 3, "consumers of one queue share it, each queue has a copy"),
        check!(memory, HOLE 3, "an exchange keeps no message, a durable queue does"),
        check!(producer_cut, HOLE 3, "a producer whose link is cut sends again under the same id"),
        check!(not_confirmed, HOLE 3, "a message without a confirm is sent again").patient(),
        check!(no_permission, HOLE 3, "a missing right ends it with an error, not in a loop"),
        check!(wrong_place, HOLE 3, "wrong vhost or password: the error names user and vhost"),
        check!(long_key, HOLE 3, "a key over 255 bytes is refused before anything is sent"),
        check!(mail_shot, HOLE 4, "a mail shot reaches all of Preston by `pr.#`, nobody by `pr*`"),
        check!(unroutable, HOLE 5, "an unroutable message is reported with its key"),
        check!(removed, HOLE 6, "a pattern is removed, and no waiting message is lost").patient(),
        check!(replaced, HOLE 6, "while a pattern is replaced, no message is missed").patient(),
        check!(alternate, HOLE 7, "an alternate exchange catches each unroutable message"),
    ],
});
