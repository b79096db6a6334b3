//! What `just search 05` runs: two sales, each booked once and paid once, and two views, each recorded
//! once and counted once.

use check::{Outcome, Topic};
use search::{Answer, Operation, Part, Play, Scenario};
use serde_json::json;

/// What finance and payment record, and what history and recommendations do.
const SALE: &str = "sale";
const VIEW: &str = "view";

search::main!(
    Scenario::new(4, operate)
        .part(
            Part::consumer("finance")
                .records("bookings")
                .wants(|kind| kind == SALE)
        )
        .part(
            Part::consumer("payment")
                .records("payments")
                .wants(|kind| kind == SALE)
        )
        .part(
            Part::consumer("history")
                .records("views")
                .wants(|kind| kind == VIEW)
        )
        .part(
            Part::consumer("recommendations")
                .records("seen")
                .wants(|kind| kind == VIEW)
        )
        .part(Part::server("shop"))
        .part(Part::server("video-streaming"))
        .holes(|topic| match topic {
            Topic::Publish | Topic::Confirm => 7,
            Topic::Durability | Topic::Routing => 1,
            Topic::Consume => 3,
            Topic::NoAck | Topic::Settle => 5,
        })
);

async fn operate(play: &Play, operation: &Operation) -> Outcome<Answer> {
    match operation.number % 2 {
        1 => order(play, &operation.id).await,
        _ => watch(play).await,
    }
}

/// A client orders under an id of its own, and orders again until it is told that it is sold.
async fn order(play: &Play, id: &str) -> Outcome<Answer> {
    let order = json!({
        "saleId": id,
        "item": format!("lamp {id}"),
        "pence": 1250,
        "customer": format!("Ada {id}"),
    });
    let answer = play.service("shop")?.try_post("/sales", &order).await;
    Ok(Answer::of(&answer, id).of_kind(SALE))
}

/// A viewer asks again until the film comes; its view has the id in the answer's header.
async fn watch(play: &Play) -> Outcome<Answer> {
    let answer = play.service("video-streaming")?.try_get("/video").await;
    let id = answer
        .as_ref()
        .ok()
        .and_then(|answer| answer.header("view-id"));
    let id = id.unwrap_or_default().to_owned();
    Ok(Answer::of(&answer, &id).of_kind(VIEW))
}
