//! What `just search 07` runs: a producer sends messages over the network, two in one window; each
//! is recorded once.

use check::{Lab, Rights, Service, Topic};
use search::{Answer, Operation, Part, Play, Scenario};

const PRODUCER: Rights<'static> = Rights {
    configure: "^$",
    write: "^messages$",
    read: "^$",
};

const CONSUMER: Rights<'static> = Rights {
    configure: "^$",
    write: "^$",
    read: "^messages$",
};

search::main!(
    Scenario::new(2, send)
        .topology("compose/07-topology.json")
        .part(
            Part::worker("consumer")
                .records("messages")
                .logs_in(CONSUMER)
                .with(across)
        )
        .part(
            Part::command("producer")
                .named("producer", &["producer", "--count", "3", "--rate", "1000"])
                .logs_in(PRODUCER)
                .with(across)
        )
        .holes(|topic| match topic {
            Topic::Publish | Topic::Routing | Topic::Durability => 1,
            Topic::NoAck | Topic::Settle => 4,
            Topic::Confirm | Topic::Consume => 8,
        })
);

/// A heartbeat of 1 s, as in the checks, so that a service that stands still is noticed.
fn across(_: &Lab, service: Service) -> Service {
    service
        .with("BROKER_HEARTBEAT_S", 1)
        .with("BROKER_CONNECT_TIMEOUT_MS", 5000)
}

/// A producer sends its messages, and is started again until it ends with exit code 0.
async fn send(play: &Play, _: &Operation) -> check::Outcome<Answer> {
    play.publishes("producer").await
}
