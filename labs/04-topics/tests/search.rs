//! What `just search 04` runs: a producer sends two log lines and a letter, and three consumers record
//! what their queues get. The letter's queue is behind the alternate exchange.

use check::run::NO_HOLE;
use check::{Lab, Service, Topic};
use search::{Answer, Operation, Role, Run, Scenario};

/// The alternate exchange, its queue, and the consumer that empties it.
const UNROUTED: &str = "unrouted";

search::main!(
    Scenario::new(2, send)
        .role(
            consumer("ops", &["consumer", "ops", "log.critical"])
                .wants(|key| key == "log.critical")
        )
        .role(
            consumer("archive", &["consumer", "archive", "log.#", "*.critical"])
                .wants(|key| key.starts_with("log."))
        )
        .role(
            consumer(UNROUTED, &["consumer", UNROUTED, "--unbind", "#"])
                .wants(|key| key.starts_with("pr."))
        )
        .role(
            Role::command("producer")
                .named(
                    "producer",
                    &["producer", "log.info", "log.critical", "pr.1.2he"]
                )
                .with(alternate)
        )
        .holes(|topic| match topic {
            Topic::Publish | Topic::Confirm => 3,
            Topic::Routing | Topic::Durability => 1,
            // What the consumer does with a message is given.
            Topic::Consume | Topic::NoAck | Topic::Settle => NO_HOLE,
        })
);

fn consumer(name: &'static str, arguments: &[&'static str]) -> Role {
    Role::worker("consumer")
        .named(name, arguments)
        .records("messages")
        .with(alternate)
}

fn alternate(_: &Lab, service: Service) -> Service {
    service.with("ALTERNATE_EXCHANGE", UNROUTED)
}

/// A producer sends its messages, and is started again until it ends with exit code 0.
async fn send(run: &Run, _: &Operation) -> check::Outcome<Answer> {
    run.publishes("producer").await
}
