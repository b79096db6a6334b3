//! What chapter 05's services must be able to do and to take.

mod copies;
mod effects;
mod events;
mod producers;
mod sales;

use check::check;
use check::{Checks, Topic};

use copies::{broadcast, catch_up, newcomer, other_clients, ready, replicas, views, wrong_type};
use effects::{broker_restart, counts, killed, once, poison, poison_for_one, waits};
use producers::{nobody_bound, view_cut};
use sales::{bad_order, promise, shop_cut, shop_sigterm, sold_once};

check::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Publish | Topic::Confirm => 2,
        Topic::Durability | Topic::Routing => 3,
        Topic::Consume => 4,
        Topic::NoAck | Topic::Settle => 5,
    },
    all: vec![
        check!(wrong_type, HOLE 1, "an exchange of another type: one clear error, and the end"),
        check!(nobody_bound, HOLE 2, "a view that nobody is bound for is no success"),
        check!(view_cut, HOLE 2, "a success is never a view that was lost"),
        check!(other_clients, HOLE 3, "a service in another language can join in, with any key"),
        check!(views, HOLE 3, "a view reaches the history, over the exchange"),
        check!(catch_up, HOLE 3, "a stopped service catches up, in order"),
        check!(ready, HOLE 3, "who says that it consumes is bound"),
        check!(broadcast, HOLE 4, "each service gets every message"),
        check!(newcomer, HOLE 4, "a new service joins, and the producer never knows"),
        check!(replicas, HOLE 4, "two instances of a service share: each sale is booked once"),
        check!(poison_for_one, HOLE 4, "what is broken for one service is fine for the other"),
        check!(killed, HOLE 4, "one is down, one is killed in mid-message: both get each sale"),
        check!(waits, HOLE 5, "who cannot work just now loses nothing, and holds up nobody"),
        check!(counts, HOLE 5, "what is watched most is recommended first"),
        check!(once, HOLE 5, "a view that is delivered again is counted once"),
        check!(poison, HOLE 5, "a broken message blocks nobody"),
        check!(promise, HOLE 6, "a sale counts for both, even before they first start"),
        check!(sold_once, HOLE 7, "an order that is sent again is the same sale"),
        check!(shop_cut, HOLE 7, "a sale that was answered with 200 is never lost"),
        check!(shop_sigterm, HOLE 7, "SIGTERM: the order in hand is answered first, and truly"),
        check!(broker_restart, HOLE 7, "broker restart under all six: exactly one effect each")
            .early(),
        check!(bad_order, HOLE 7, "a bad order publishes nothing"),
    ],
});
