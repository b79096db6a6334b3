//! What `just search 03` runs: four jobs, shared by two workers and each done once, and one that
//! always fails and is parked.

use check::{Lab, Service, Topic};
use search::{Answer, Operation, Part, Play, Scenario};

/// A job that a worker can do, and one that it cannot.
const GOOD: &str = "good";
const FAILING: &str = "failing";

search::main!(
    Scenario::new(3, send)
        .part(worker("ada", &["worker", "ada", "--unit-ms", "20"]))
        .part(worker("grace", &["worker", "grace", "--unit-ms", "20"]))
        .part(Part::command("producer").named(
            "producer",
            &["producer", "--burst", "--count", "2", "--text", "."],
        ))
        .part(Part::command("producer").named(
            "failing",
            &["producer", "--burst", "--count", "1", "--text", "!"],
        ))
        .parks("messages.dead", 5, FAILING)
        .holes(|topic| match topic {
            Topic::Consume | Topic::NoAck => 1,
            Topic::Settle => 3,
            Topic::Publish | Topic::Confirm | Topic::Routing | Topic::Durability => 7,
        })
);

/// Both workers write one database.
fn worker(name: &'static str, arguments: &[&'static str]) -> Part {
    let shared = |lab: &Lab, service: Service| {
        service.with("DATABASE", lab.dir().join("jobs.sqlite").display())
    };
    let part = Part::worker("worker").named(name, arguments).with(shared);
    part.shares("jobs").wants(|kind| kind == GOOD)
}

/// A producer sends two jobs, and with exit code 0 promises that they will be done; the last one
/// sends a job that fails.
async fn send(play: &Play, operation: &Operation) -> check::Outcome<Answer> {
    Ok(match operation.number {
        ..3 => play.publishes("producer").await?.of_kind(GOOD),
        _ => play.publishes("failing").await?.of_kind(FAILING),
    })
}
