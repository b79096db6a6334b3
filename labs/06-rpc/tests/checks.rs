//! What chapter 06's services must be able to do, also when things fail.

mod calls;
mod client;
mod deadline;
mod fate;
mod faults;
mod holes;
mod peer;
mod relay;
mod server;

use check::Checks;
use check::check;

use client::{
    direct, garbled, known, one_queue, quick_answers, request, shuffled, stray_answers, unknown,
};
use deadline::{deadline, expired, late_answer, lost_reply_queue, no_leak};
use faults::{broker_restart, client_stops, late_broker, link_cut, server_stops};
use holes::hole_for;
use server::{
    bad_requests, deleted_queue, killed_server, lost_answer, nobody_waits, other_clients,
    refused_answer, shared,
};

check::main!(Checks {
    broker: true,
    hole_for,
    all: vec![
        check!(request, HOLE 1, "a request says where its answer goes, and which call it is for"),
        check!(one_queue, HOLE 2, "each client has one reply queue, each call one correlation id"),
        check!(known, HOLE 3, "a known id is answered with 200 and the name"),
        check!(unknown, HOLE 3, "an unknown id is answered with 404, and the server goes on"),
        check!(other_clients, HOLE 3, "a client in another language gets its answers"),
        check!(nobody_waits, HOLE 3, "an answer whose queue is gone is logged, and blocks no other"),
        check!(refused_answer, HOLE 3, "an answer that the broker refuses is sent again"),
        check!(deleted_queue, HOLE 3, "after its queue is deleted, the server consumes again"),
        check!(server_stops, HOLE 3, "after SIGTERM the server finishes its current request"),
        check!(shuffled, HOLE 4, "each of 50 concurrent calls gets its own answer, in any order"),
        check!(stray_answers, HOLE 4, "an answer that no call waits for is logged and ignored"),
        check!(garbled, HOLE 4, "an answer that cannot be read ends its call with 502"),
        check!(lost_answer, HOLE 4, "a lost answer is sent again, and no request is lost"),
        check!(shared, HOLE 4, "two servers share the requests"),
        check!(killed_server, HOLE 4, "another server answers the requests of a killed one"),
        check!(client_stops, HOLE 4, "after SIGTERM the client finishes the calls in progress"),
        check!(link_cut, HOLE 4, "a call ends when its link is cut, and the next call works"),
        check!(lost_reply_queue, HOLE 4, "a client whose consumer the broker cancels gets answers again"),
        check!(late_broker, HOLE 4, "without a broker a call gets 503 at once; with one, calls work"),
        check!(broker_restart, HOLE 4, "calls work again after the broker restarts").early(),
        check!(deadline, HOLE 5, "a call that nobody answers gets 504 by its deadline"),
        check!(quick_answers, HOLE 5, "of 200 calls at once none misses its answer or leaves anything"),
        check!(expired, HOLE 5, "a request whose caller has given up is not served"),
        check!(late_answer, HOLE 6, "the late answer to an old call never answers a new one")
            .early(),
        check!(no_leak, HOLE 6, "1,000 calls that nobody answers leave nothing behind").early(),
        check!(bad_requests, HOLE 7, "a request that cannot be answered is logged, and blocks no other"),
        check!(direct, HOLE 8, "with REPLY_TO=direct, answers come without a queue").optional(),
    ],
});
