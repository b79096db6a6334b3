//! What chapter 04's producers and consumers must be able to do and to take.

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
        check!(wrong_type, HOLE 1, "an exchange of another type: one clear error, and the end"),
        check!(sent, HOLE 2, "each message goes out under its key, and is confirmed"),
        check!(unroutable, HOLE 2, "what no queue takes is reported with its key"),
        check!(producer_cut, HOLE 2, "a producer whose link is cut sends again, under the same id"),
        check!(patterns, HOLE 3, "random keys and patterns: a queue gets what one of them matches"),
        check!(nasty_keys, HOLE 3, "empty keys, empty words, no words: as AMQP has it"),
        check!(once, HOLE 3, "a message that two bindings match comes once"),
        check!(share_and_copy, HOLE 3, "one name shares its messages, each name has a copy"),
        check!(mail_shot, HOLE 3, "a mail shot reaches all of Preston by `pr.#`, nobody by `pr*`"),
        check!(ready, HOLE 3, "a consumer is ready when all its bindings are there"),
        check!(memory, HOLE 3, "an exchange remembers nothing, a durable queue does"),
        check!(no_permission, HOLE 3, "a missing right ends it with an error, not in a loop"),
        check!(removed, HOLE 4, "a pattern is removed, and nothing that waits is lost"),
        check!(replaced, HOLE 4, "while patterns are exchanged, nothing is missed"),
        check!(long_key, HOLE 5, "a key over 255 bytes is refused before anything is sent"),
        check!(wrong_place, HOLE 6, "wrong vhost, wrong password: the error says who and where"),
        check!(alternate, HOLE 7, "an alternate exchange catches what no queue takes"),
    ],
});
