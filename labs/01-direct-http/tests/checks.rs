//! The checks of chapter 01: a watched film reaches the history, whatever fails on the way.

mod faults;
mod flixtube;
mod frozen;
mod recording;
mod viewers;

use check::{Checks, check};
use faults::{given_up, history_400, history_500, response_lost};
use frozen::history_frozen;
use recording::{bad_input, killed_after_200, told_twice};
use viewers::{history_down, hundred_viewers, recorded, stopped};

check::main!(Checks {
    broker: false,
    hole_for: |_| 1,
    all: vec![
        check!(told_twice, HOLE 1, "a view told twice is in the history once"),
        check!(bad_input, HOLE 1, "a bad request is refused and records nothing"),
        check!(killed_after_200, HOLE 1, "a view answered with 200 survives a kill -9"),
        check!(recorded, HOLE 2, "a watched film reaches the history"),
        check!(hundred_viewers, HOLE 2, "a hundred viewers at once leave a hundred views"),
        check!(history_down, HOLE 3, "the film plays without the history; one error is logged"),
        check!(stopped, HOLE 3, "on SIGTERM the service finishes the calls in flight"),
        check!(history_frozen, HOLE 4, "a frozen history delays no film, and the call times out")
            .early(),
        check!(history_500, HOLE 5, "a call answered with 5xx is retried, and recorded once"),
        check!(response_lost, HOLE 5, "a call without an answer is retried, and recorded once"),
        check!(given_up, HOLE 5, "a view is given up after four calls, and logged once").patient(),
        check!(history_400, HOLE 6, "a call answered with 4xx is not retried, except 408, 429"),
    ],
});
