//! What chapter 07's producer and consumer must be able to take.

mod cable;
mod login;
mod net;
mod queue;
mod returned;
mod trouble;

use check::check;
use check::{Checks, Topic};

use cable::{cable_pulled, one_way, producers_cable};
use login::{as_told, least_privilege, missing, refused};
use queue::{consumer_away, duplicate, effect_first, far_away, no_id, sigterm};
use returned::returned;
use trouble::{
    broker_restart, closed_by_operator, full_vhost, given_up, late_broker, late_queue, new_trouble,
    silent_broker, unknown_name,
};

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Routing | Topic::Durability => 2,
        Topic::Confirm => 5,
        Topic::Consume | Topic::NoAck | Topic::Settle => 6,
    },
    all: vec![
        check!(missing, HOLE 1, "what the environment lacks is named, and no password is shown"),
        check!(as_told, HOLE 2, "it logs in as it is told, with any password, and sets the heartbeat"),
        check!(consumer_away, HOLE 2, "the consumer is down, the producer works: nothing is lost"),
        check!(silent_broker, HOLE 2, "a broker that takes the call and says nothing: hung up on"),
        check!(given_up, HOLE 2, "a connection attempt that times out leaves nothing behind").patient(),
        check!(refused, HOLE 3, "wrong password, no such vhost, no right: one login, then the end"),
        check!(full_vhost, HOLE 3, "a vhost that has no room for it now: called again").patient(),
        check!(late_broker, HOLE 4, "a late broker is called more and more rarely, by each in its time")
            .patient(),
        check!(late_queue, HOLE 5, "a queue that is missing makes no storm of logins").patient(),
        check!(new_trouble, HOLE 5, "after a connection that worked the pauses begin anew").patient(),
        check!(unknown_name, HOLE 5, "a name that nobody knows is looked up again, until SIGTERM"),
        check!(cable_pulled, HOLE 5, "the consumer's cable is pulled: both ends notice, and resume")
            .patient(),
        check!(producers_cable, HOLE 5, "the producer's cable is pulled: what was due arrives").patient(),
        check!(one_way, HOLE 5, "a network that fails in one direction only: both ends notice").patient(),
        check!(returned, HOLE 5, "a returned message is sent again, whichever confirm it came with"),
        check!(closed_by_operator, HOLE 5, "connections that an operator closes are opened again")
            .patient(),
        check!(broker_restart, HOLE 5, "a broker is killed and comes back: nothing is lost").patient(),
        check!(sigterm, HOLE 5, "SIGTERM: the message in hand is finished, the others go back"),
        check!(duplicate, HOLE 6, "what comes twice has its effect once, and is counted"),
        check!(effect_first, HOLE 6, "no message is acked before its effect is committed"),
        check!(no_id, HOLE 6, "a message without an id goes to the dead letters"),
        check!(far_away, HOLE 7, "100 ms each way do not halve the throughput").early(),
        check!(least_privilege, HOLE 8, "each user may do its work, and nothing else"),
    ],
});
