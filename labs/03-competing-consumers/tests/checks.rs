//! What chapter 03's producers and workers must be able to take.

mod faults;
mod jobs;
mod producer;
mod sharing;

use check::check;
use check::{Checks, Topic};

use faults::{
    effect_before_ack, given_up, killed_in_batch, killed_worker, link_cut, parked_in_time, sigterm,
};
use producer::{burst, producer_cut, returned, sent};
use sharing::{batches, fair_dispatch, joins_and_leaves, prefetch, shared, speedup};

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Confirm | Topic::Routing | Topic::Durability => 1,
        Topic::Consume | Topic::NoAck => 2,
        Topic::Settle => 3,
    },
    all: vec![
        check!(sent, HOLE 1, "a producer sends each job under an id of its own, and ends"),
        check!(burst, HOLE 1, "a burst does not wait for each confirm in turn"),
        check!(producer_cut, HOLE 1, "a producer whose link is cut sends again, under the same ids"),
        check!(returned, HOLE 1, "a returned job is sent again, whichever confirm it came with"),
        check!(prefetch, HOLE 2, "a worker takes no more than its prefetch"),
        check!(fair_dispatch, HOLE 2, "a slow worker does not hold up the fast one"),
        check!(shared, HOLE 3, "three workers share the jobs, each job is done once"),
        check!(speedup, HOLE 3, "four workers need a quarter of the time").early(),
        check!(effect_before_ack, HOLE 3, "no job is acked before its row is committed"),
        check!(killed_worker, HOLE 3, "a killed worker's jobs go to another one"),
        check!(link_cut, HOLE 3, "a job done twice has its effect once"),
        check!(given_up, HOLE 4, "a job that always fails is parked, the others go on"),
        check!(parked_in_time, HOLE 4, "a failed job is somewhere at every moment"),
        check!(killed_in_batch, HOLE 4, "a worker killed in mid-batch loses none of its jobs"),
        check!(batches, HOLE 5, "many small jobs are committed and acked together"),
        check!(sigterm, HOLE 6, "SIGTERM: the job in hand is finished, the others go back"),
        check!(joins_and_leaves, HOLE 6, "workers come and go, and every job is done"),
    ],
});
