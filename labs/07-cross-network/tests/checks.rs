//! What chapter 07's producer and consumer must be able to do, also when things fail.

mod backoff;
mod cable;
mod faults;
mod login;
mod net;
mod queue;
mod returned;
mod rights;

use check::check;
use check::{Checks, Topic};

use backoff::{late_broker, late_queue, new_trouble};
use cable::{cable_pulled, one_way, producers_cable};
use faults::{
    broker_restart, closed_by_operator, full_vhost, given_up, silent_broker, unknown_name,
};
use login::{as_told, missing, refused};
use queue::{consumer_away, duplicate, effect_first, far_away, no_id, sigterm};
use returned::returned;
use rights::least_privilege;

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Routing | Topic::Durability => 2,
        Topic::Confirm => 5,
        Topic::Consume | Topic::NoAck | Topic::Settle => 6,
    },
    all: vec![
        check!(missing, HOLE 1, "each missing variable is named, and no password is shown"),
        check!(as_told, HOLE 2, "any password works, and the heartbeat is the environment's"),
        check!(consumer_away, HOLE 2, "messages sent while the consumer is down are not lost"),
        check!(silent_broker, HOLE 2, "an attempt to connect to a silent broker times out"),
        check!(given_up, HOLE 2, "a connection attempt that times out leaves nothing behind").patient(),
        check!(refused, HOLE 3, "a refusal that cannot pass ends the program after one login"),
        check!(full_vhost, HOLE 3, "a vhost at its connection limit is tried again").patient(),
        check!(late_broker, HOLE 4, "the pauses between attempts grow, up to a limit, with jitter")
            .patient(),
        check!(late_queue, HOLE 5, "a missing queue causes no storm of logins").patient(),
        check!(new_trouble, HOLE 5, "after a connection that worked, pauses start short again").patient(),
        check!(unknown_name, HOLE 5, "an unknown host name is looked up again, until SIGTERM"),
        check!(cable_pulled, HOLE 5, "the consumer's cable is pulled: both ends notice, and resume")
            .patient(),
        check!(producers_cable, HOLE 5, "the producer's cable is pulled: all due messages arrive")
            .patient(),
        check!(one_way, HOLE 5, "both ends notice a network that fails in one direction only")
            .patient(),
        check!(returned, HOLE 5, "a returned message is sent again, whichever confirm held it"),
        check!(closed_by_operator, HOLE 5, "connections that an operator closes are opened again")
            .patient(),
        check!(broker_restart, HOLE 5, "a killed broker loses no confirmed message").patient(),
        check!(sigterm, HOLE 5, "a stopped consumer finishes its message; the rest is requeued"),
        check!(duplicate, HOLE 6, "a duplicate has no second effect, and is counted"),
        check!(effect_first, HOLE 6, "no message is acked before its effect is committed"),
        check!(no_id, HOLE 6, "a message without an id is dead-lettered"),
        check!(far_away, HOLE 7, "100 ms each way do not halve the throughput").early(),
        check!(least_privilege, HOLE 8, "each user can do its work, and nothing else"),
    ],
});
