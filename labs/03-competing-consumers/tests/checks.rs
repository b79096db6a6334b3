//! The checks of chapter 03: each job is done, once, whichever worker fails.

mod faults;
mod holes;
mod jobs;
mod parking;
mod producer;
mod sharing;
mod stopping;

use check::Checks;
use check::check;

use faults::{effect_before_ack, killed_worker, link_cut};
use holes::hole_for;
use parking::{given_up, killed_in_batch, parked_in_time};
use producer::{burst, producer_cut, returned, sent};
use sharing::{
    arrives, batches, fair_dispatch, joins_and_leaves, prefetch, second_worker, shared, speedup,
};
use stopping::{queue_deleted, sigterm};

check::main!(Checks {
    broker: true,
    hole_for,
    all: vec![
        check!(arrives, HOLE 1, "jobs of one queue arrive at two workers, each job at one"),
        check!(sent, HOLE 1, "a producer sends each job under its own id, then exits"),
        check!(prefetch, HOLE 2, "a worker has no more unacked jobs than its prefetch"),
        check!(second_worker, HOLE 2, "a worker that starts second gets waiting jobs, too"),
        check!(shared, HOLE 3, "three workers share the jobs, and each job is done once"),
        check!(fair_dispatch, HOLE 3, "a slow worker does not hold up the fast one"),
        check!(speedup, HOLE 3, "four workers need about a quarter of one worker's time").early(),
        check!(effect_before_ack, HOLE 3, "no job is acked before its row is committed"),
        check!(killed_worker, HOLE 3, "a killed worker's jobs are redelivered to another one"),
        check!(link_cut, HOLE 3, "a redelivered job has its effect once"),
        check!(batches, HOLE 3, "many small jobs are committed and acked together"),
        check!(given_up, HOLE 4, "a job that always fails is parked; the others are done"),
        check!(parked_in_time, HOLE 5, "a failed job is in a queue or unacked at every moment"),
        check!(killed_in_batch, HOLE 5, "a worker killed in mid-batch loses none of its jobs"),
        check!(sigterm, HOLE 6, "on SIGTERM a worker finishes one job, requeues the rest"),
        check!(joins_and_leaves, HOLE 6, "workers come and go, and every job is done"),
        check!(queue_deleted, HOLE 6, "a worker whose queue is deleted consumes again"),
        check!(burst, HOLE 7, "a burst does not wait for each confirm in turn"),
        check!(producer_cut, HOLE 7, "after a cut a producer republishes under the same ids"),
        check!(returned, HOLE 7, "a returned job is republished, whichever confirm has it"),
    ],
});
