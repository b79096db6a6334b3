//! What `just search 03` runs: four jobs, shared by two workers and each done once, and one that
//! always fails and is parked.

mod holes;

use check::{Lab, Service};
use search::{Answer, Operation, Role, Run, Scenario};

/// A job that a worker can do, and one that it cannot.
const GOOD: &str = "good";
const FAILING: &str = "failing";

search::main!(
    Scenario::new(3, send)
        .role(worker("ada", &["worker", "ada", "--unit-ms", "20"]))
        .role(worker("grace", &["worker", "grace", "--unit-ms", "20"]))
        .role(Role::command("producer").named(
            "producer",
            &["producer", "--burst", "--count", "2", "--text", "."],
        ))
        .role(Role::command("producer").named(
            "failing",
            &["producer", "--burst", "--count", "1", "--text", "!"],
        ))
        .parks("messages.dead", 5, FAILING)
        .holes(holes::hole_for)
);

/// Both workers write one database.
fn worker(name: &'static str, arguments: &[&'static str]) -> Role {
    let shared = |lab: &Lab, service: Service| {
        service.with("DATABASE", lab.dir().join("jobs.sqlite").display())
    };
    let role = Role::worker("worker").named(name, arguments).with(shared);
    role.shares("jobs").wants(|kind| kind == GOOD)
}

/// A producer sends two jobs, and with exit code 0 promises that they will be done; the last one
/// sends a job that fails.
async fn send(run: &Run, operation: &Operation) -> check::Outcome<Answer> {
    Ok(match operation.number {
        ..3 => run.publishes("producer").await?.of_kind(GOOD),
        _ => run.publishes("failing").await?.of_kind(FAILING),
    })
}
