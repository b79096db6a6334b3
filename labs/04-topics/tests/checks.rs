//! What chapter 04's producers and consumers must do, and which faults they must survive.

mod logs;
mod oracle;
mod producer;
mod topics;
mod trouble;

use check::check;
use check::{Checks, Topic};

use producer::{alternate, long_key, producer_cut, sent, unroutable};
use topics::{
    mail_shot, memory, nasty_keys, once, patterns, ready, removed, replaced, share_and_copy,
};
use trouble::{no_permission, wrong_place, wrong_type};

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Confirm => 2,
        Topic::Routing | Topic::Durability | Topic::Consume | Topic::NoAck | Topic::Settle => 3,
    },
    all: vec![
        check!(wrong_type, HOLE 1, "an exchange of another type ends both with a clear error"),
        check!(sent, HOLE 2, "each message is published under its key, and confirmed"),
        check!(unroutable, HOLE 2, "an unroutable message is reported with its key"),
        check!(producer_cut, HOLE 2, "a producer whose link is cut sends again under the same id"),
        check!(patterns, HOLE 3, "random keys: a queue gets exactly what its patterns match"),
        check!(nasty_keys, HOLE 3, "empty keys, empty words and no words match as AMQP says"),
        check!(once, HOLE 3, "a message that matches several bindings is delivered once"),
        check!(share_and_copy, HOLE 3, "consumers of one queue share it, each queue has a copy"),
        check!(mail_shot, HOLE 3, "a mail shot reaches all of Preston by `pr.#`, nobody by `pr*`"),
        check!(ready, HOLE 3, "a consumer says `ready` when all its bindings exist"),
        check!(memory, HOLE 3, "an exchange keeps no message, a durable queue does"),
        check!(no_permission, HOLE 3, "a missing right ends it with an error, not in a loop"),
        check!(removed, HOLE 4, "a pattern is removed, and no waiting message is lost"),
        check!(replaced, HOLE 4, "while a pattern is replaced, no message is missed"),
        check!(long_key, HOLE 5, "a key over 255 bytes is refused before anything is sent"),
        check!(wrong_place, HOLE 6, "wrong vhost or password: the error names user and vhost"),
        check!(alternate, HOLE 7, "an alternate exchange catches each unroutable message"),
    ],
});
