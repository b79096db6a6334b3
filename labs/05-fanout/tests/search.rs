//! What `just search 05` runs: three sales, each booked once and paid once.

use check::Topic;
use search::{Answer, Operation, Part, Play, Scenario};
use serde_json::json;

search::main!(
    Scenario::new(3, sell)
        .part(Part::consumer("finance").records("bookings"))
        .part(Part::consumer("payment").records("payments"))
        .part(Part::server("shop"))
        .holes(|topic| match topic {
            Topic::Publish | Topic::Confirm => 7,
            Topic::Durability | Topic::Routing => 1,
            Topic::Consume => 3,
            Topic::NoAck | Topic::Settle => 5,
        })
);

/// A client orders under an id of its own, and orders again until it is told that it is sold.
async fn sell(play: &Play, operation: &Operation) -> check::Outcome<Answer> {
    let id = &operation.id;
    let order = json!({
        "saleId": id,
        "item": format!("lamp {id}"),
        "pence": 1250,
        "customer": "Ada",
    });
    let answer = play.service("shop")?.try_post("/sales", &order).await;
    Ok(Answer::of(&answer, id))
}
