//! What `just search 05` runs: two sales, each booked once and paid once, and two views, each recorded
//! once and counted once.

mod holes;

use check::Outcome;
use search::{Answer, Operation, Role, Run, Scenario};
use serde_json::json;

/// What finance and payment record, and what history and recommendations do.
const SALE: &str = "sale";
const VIEW: &str = "view";

search::main!(
    Scenario::new(4, operate)
        .role(
            Role::consumer("finance")
                .records("bookings")
                .wants(|kind| kind == SALE)
        )
        .role(
            Role::consumer("payment")
                .records("payments")
                .wants(|kind| kind == SALE)
        )
        .role(
            Role::consumer("history")
                .records("views")
                .wants(|kind| kind == VIEW)
        )
        .role(
            Role::consumer("recommendations")
                .records("seen")
                .wants(|kind| kind == VIEW)
        )
        .role(Role::server("shop"))
        .role(Role::server("video-streaming"))
        .holes(holes::hole_for)
);

async fn operate(run: &Run, operation: &Operation) -> Outcome<Answer> {
    match operation.number % 2 {
        1 => order(run, &operation.id).await,
        _ => watch(run).await,
    }
}

/// A client orders under an id of its own, and orders again until it is told that it is sold.
async fn order(run: &Run, id: &str) -> Outcome<Answer> {
    let order = json!({
        "saleId": id,
        "item": format!("lamp {id}"),
        "pence": 1250,
        "customer": format!("Ada {id}"),
    });
    let answer = run.service("shop")?.try_post("/sales", &order).await;
    Ok(Answer::of(&answer, id).of_kind(SALE))
}

/// A viewer asks again until the film comes; its view has the id in the answer's header.
async fn watch(run: &Run) -> Outcome<Answer> {
    let answer = run.service("video-streaming")?.try_get("/video").await;
    let id = answer
        .as_ref()
        .ok()
        .and_then(|answer| answer.header("view-id"));
    Ok(match id {
        Some(id) => Answer::of(&answer, id).of_kind(VIEW),
        None => Answer::Refused("no view-id".to_owned()),
    })
}
