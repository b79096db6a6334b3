//! What `just search 07` runs: a producer sends messages over the network, two in one window; each
//! is recorded once.

mod holes;

use check::{Lab, Rights, Service};
use search::{Answer, Operation, Role, Run, Scenario};

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
        .role(
            Role::worker("consumer")
                .records("messages")
                .logs_in(CONSUMER)
                .with(across)
        )
        .role(
            Role::command("producer")
                .named("producer", &["producer", "--count", "3", "--rate", "1000"])
                .logs_in(PRODUCER)
                .with(across)
        )
        .holes(holes::hole_for)
);

/// A heartbeat of 1 s, as in the checks, so that a service that stands still is noticed.
fn across(_: &Lab, service: Service) -> Service {
    service
        .with("BROKER_HEARTBEAT_S", 1)
        .with("BROKER_CONNECT_TIMEOUT_MS", 5000)
}

/// A producer sends its messages, and is started again until it ends with exit code 0.
async fn send(run: &Run, _: &Operation) -> check::Outcome<Answer> {
    run.publishes("producer").await
}
