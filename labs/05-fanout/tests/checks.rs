//! What chapter 05's services must do, and which faults they must survive.

mod copies;
mod effects;
mod events;
mod holes;
mod producers;
mod sales;
mod wire;

use check::Checks;
use check::check;

use copies::{broadcast, catch_up, newcomer, other_clients, ready, replicas, views, wrong_type};
use effects::{broker_restart, counts, killed, once, poison, poison_for_one, waits};
use holes::hole_for;
use producers::{nobody_bound, view_cut};
use sales::{bad_order, promise, shop_cut, shop_sigterm, sold_once, unconfirmed};

check::main!(Checks {
    broker: true,
    hole_for,
    all: vec![
        check!(views, HOLE 1, "a view reaches the history through the exchange"),
        check!(ready, HOLE 1, "a service says `consuming` once bound, also after its queue is deleted"),
        check!(catch_up, HOLE 1, "a stopped service catches up"),
        check!(counts, HOLE 1, "the most watched film is recommended first"),
        check!(nobody_bound, HOLE 1, "a view that no queue takes is answered with 503"),
        check!(wrong_type, HOLE 2, "an exchange of another type ends a service with a clear error"),
        check!(other_clients, HOLE 2, "a client in another language can join in, with any key"),
        check!(broadcast, HOLE 3, "each service gets every message"),
        check!(newcomer, HOLE 3, "a new service joins without a change to the producer"),
        check!(replicas, HOLE 3, "two instances share a queue: each sale is booked once"),
        check!(poison_for_one, HOLE 3, "a message that one service rejects reaches the other"),
        check!(killed, HOLE 3, "a stopped service and a killed one both get each sale"),
        check!(bad_order, HOLE 3, "a bad order publishes nothing"),
        check!(once, HOLE 4, "a redelivered view is counted once"),
        check!(view_cut, HOLE 4, "a view that was answered with 200 is never lost"),
        check!(poison, HOLE 5, "a broken message blocks no service"),
        check!(waits, HOLE 5, "a locked database loses no view and blocks no other service")
            .early(),
        check!(promise, HOLE 6, "a sale reaches both services, even before their first start"),
        check!(sold_once, HOLE 7, "an order that is sent again is the same sale"),
        check!(shop_cut, HOLE 7, "a sale that was answered with 200 is never lost"),
        check!(unconfirmed, HOLE 7, "a sale without a confirm is not answered with 200").patient(),
        check!(shop_sigterm, HOLE 7, "SIGTERM: the current order is answered first, truthfully")
            .early(),
        check!(broker_restart, HOLE 7, "after a broker restart each message has one effect")
            .patient(),
    ],
});
