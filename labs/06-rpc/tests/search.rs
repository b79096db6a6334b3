//! What `just search 06` runs: four calls, two at once, each with its own answer.

mod holes;

#[allow(dead_code, reason = "the checks use the rest")]
mod fate;

use check::fail;
use check::wiretap::Method;
use search::{Answer, Operation, Role, Run, Scenario, Trouble};
use serde_json::json;

search::main!(
    Scenario::new(CALLS.len(), ask)
        .at_once(2)
        .role(Role::worker("user-service"))
        .role(Role::consumer("user-client").with(|_, client| client.with("RPC_TIMEOUT_MS", 5000)))
        .unconfirmed()
        .holes(holes::hole_for)
);

/// Whom each call asks for. There is no user 7.
const CALLS: [(u32, Option<&str>); 4] = [
    (10, Some("Grace Hopper")),
    (7, None),
    (1, Some("Ada Lovelace")),
    (11, Some("Radia Perlman")),
];

/// A client asks for a user, and asks again while the service cannot be reached (503).
async fn ask(run: &Run, operation: &Operation) -> check::Outcome<Answer> {
    let (id, name) = CALLS[(operation.number - 1) % CALLS.len()];
    let (client, span) = (run.service("user-client")?, run.lab().span());
    let answer = client.try_get(&format!("/users/{id}")).await;
    let (trouble, expected, why) = match (&answer, name) {
        (Ok(answer), Some(name)) if answer.json() == json!({ "id": id, "name": name }) => {
            return Ok(Answer::Promised(Vec::new()));
        }
        (Ok(answer), None) if answer.status == 404 => return Ok(Answer::Promised(Vec::new())),
        (Ok(answer), _) if [200, 404].contains(&answer.status) => {
            let why = "a caller must never get the answer to another call";
            (Trouble::Unexpected, "its own answer", why)
        }
        (Ok(answer), _) if answer.status == 504 => {
            let why = "a fault ends within the deadline of 5 s, and a request outlives its server";
            (Trouble::Lost, "an answer, or 503 at once", why)
        }
        _ => return Ok(Answer::of(&answer, "")),
    };
    let observed = answer.map_or_else(|none| none, |answer| answer.summary());
    let expected = format!("GET /users/{id} gets {expected}");
    let failure = match fate::of_last_call(run.lab(), &client, id) {
        Some(fate) => fail(expected, format!("{observed}; {}", fate.observed))
            .because(fate.why)
            .hole(fate.hole),
        None => fail(expected, observed).because(why),
    };
    let requests = run
        .lab()
        .journal()
        .methods("user-client", Method::BasicPublish);
    let mut requests = requests.into_iter().rev().filter_map(|frame| frame.message);
    let request = requests.find(|request| request.body == id.to_string());
    let mark = request.and_then(|request| request.correlation_id);
    span.judge(Err(run.found(trouble, mark.as_deref(), failure)))
}
