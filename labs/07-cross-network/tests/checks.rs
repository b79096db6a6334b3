//! What chapter 07's producer and consumer must be able to do, also when things fail.

mod backoff;
mod cable;
mod faults;
mod holes;
mod login;
mod net;
mod queue;
mod returned;
mod rights;

use check::Checks;
use check::check;

use backoff::{late_broker, late_queue, new_trouble};
use cable::{cable_pulled, one_way, producers_cable};
use faults::{
    broker_restart, closed_by_operator, full_vhost, given_up, silent_broker, unknown_name,
};
use holes::hole_for;
use login::{as_told, heartbeat, missing, refused};
use queue::{commit_first, consumer_away, duplicate, effect_first, far_away, no_id, sigterm};
use returned::returned;
use rights::least_privilege;

check::main!(Checks {
    broker: true,
    hole_for,
    all: vec![
        check!(consumer_away, HOLE 1, "messages sent while the consumer is down are not lost"),
        check!(as_told, HOLE 1, "any user and any password work, and no log shows the password"),
        check!(missing, HOLE 1, "each missing variable is named, and no password is shown"),
        check!(no_id, HOLE 1, "a message without an id is dead-lettered"),
        check!(sigterm, HOLE 1, "a stopped consumer finishes its message; the rest is requeued"),
        check!(heartbeat, HOLE 2, "the heartbeat is the one that the environment asks for"),
        check!(far_away, HOLE 3, "100 ms each way do not halve the throughput").early(),
        check!(duplicate, HOLE 4, "a duplicate has no second effect, and is counted"),
        check!(commit_first, HOLE 4, "a message that cannot be committed is not acked"),
        check!(silent_broker, HOLE 5, "an attempt to connect to a silent broker times out").patient(),
        check!(given_up, HOLE 5, "a connection attempt that times out leaves nothing behind").patient(),
        check!(refused, HOLE 6, "a refusal that cannot pass ends the program after one login"),
        check!(full_vhost, HOLE 6, "a vhost at its connection limit is tried again").patient(),
        check!(late_broker, HOLE 7, "the pauses between attempts grow, up to a limit, with jitter")
            .patient(),
        check!(late_queue, HOLE 8, "a missing queue causes no storm of logins").patient(),
        check!(new_trouble, HOLE 8, "after a connection that worked, pauses start short again").patient(),
        check!(unknown_name, HOLE 8, "an unknown host name is looked up again, until SIGTERM"),
        check!(cable_pulled, HOLE 8, "the consumer's cable is pulled: both ends notice, and resume")
            .patient(),
        check!(producers_cable, HOLE 8, "the producer's cable is pulled: all due messages arrive")
            .patient(),
        check!(one_way, HOLE 8, "both ends notice a network that fails in one direction only")
            .patient(),
        check!(returned, HOLE 8, "a returned message is sent again, whichever confirm held it"),
        check!(closed_by_operator, HOLE 8, "connections that an operator closes are opened again")
            .patient(),
        check!(broker_restart, HOLE 8, "a killed broker loses no confirmed message").patient(),
        check!(effect_first, HOLE 8, "no message is acked before its effect is committed"),
        check!(least_privilege, HOLE 9, "each user can do its work, and nothing else"),
    ],
});
