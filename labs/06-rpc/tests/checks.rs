//! What chapter 06's services must be able to do and to take.

mod calls;
mod client;
mod server;
mod trouble;

use check::check;
use check::{Checks, Topic};

use client::{
    deadline, direct, expired, known, late_answer, no_leak, one_queue, shuffled, stray_answers,
    unknown,
};
use server::{bad_requests, killed_server, lost_answer, nobody_waits, other_clients, shared};
use trouble::{broker_restart, client_stops, late_broker, link_cut, server_stops};

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Durability => 1,
        Topic::Publish | Topic::Routing => 2,
        Topic::Confirm | Topic::Consume | Topic::NoAck | Topic::Settle => 3,
    },
    all: vec![
        check!(one_queue, HOLE 1, "one reply queue a client, one correlation id a call"),
        check!(other_clients, HOLE 3, "a client in another language gets its answers"),
        check!(nobody_waits, HOLE 3, "an answer whose queue is gone: logged, and the next one goes out"),
        check!(lost_answer, HOLE 3, "an answer that got lost is sent again, a request never lost"),
        check!(shared, HOLE 3, "two servers share the requests"),
        check!(killed_server, HOLE 3, "a server is killed with a request in hand: the other answers"),
        check!(server_stops, HOLE 3, "SIGTERM to the server: the request in hand is finished"),
        check!(known, HOLE 4, "a known id: 200 and the name"),
        check!(unknown, HOLE 4, "an unknown id: 404, and the server goes on"),
        check!(shuffled, HOLE 4, "50 calls at once, answered in any order: each caller gets its own"),
        check!(stray_answers, HOLE 4, "wrong, missing, repeated correlation ids: ignored and logged"),
        check!(late_broker, HOLE 4, "no broker yet: 503 at once, and calls as soon as it is there"),
        check!(broker_restart, HOLE 4, "a restarted broker: a new reply queue, and calls work")
            .early(),
        check!(deadline, HOLE 5, "nobody answers: 504 by the deadline"),
        check!(expired, HOLE 5, "a request that nobody waits for any more is not served"),
        check!(link_cut, HOLE 5, "the link is cut under a call: it ends, and the next one works"),
        check!(client_stops, HOLE 5, "SIGTERM to the client: the calls under way are finished"),
        check!(late_answer, HOLE 6, "the late answer to an old call never answers a new one"),
        check!(no_leak, HOLE 6, "1,000 calls that nobody answers leave nothing behind"),
        check!(bad_requests, HOLE 7, "requests that cannot be answered: logged, and not in the way"),
        check!(direct, HOLE 8, "REPLY_TO=direct: answers come without a queue").optional(),
    ],
});
