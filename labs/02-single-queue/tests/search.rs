//! What `just search 02` runs: two views and two users, in turn, each recorded once.

use check::Topic;
use search::{Answer, Operation, Part, Play, Scenario};
use serde_json::json;

/// What history records, and what session-management does.
const VIEW: &str = "view";
const USER: &str = "user";

search::main!(
    Scenario::new(4, watch_or_save)
        .part(
            Part::consumer("history")
                .records("views")
                .wants(|kind| kind == VIEW)
        )
        .part(
            Part::consumer("session-management")
                .records("users")
                .wants(|kind| kind == USER)
        )
        .part(Part::server("video-streaming"))
        .part(Part::server("user-management"))
        .holes(|topic| match topic {
            Topic::Routing => 1,
            Topic::Durability => 2,
            Topic::NoAck => 3,
            Topic::Settle => 4,
            Topic::Publish | Topic::Confirm => 5,
            Topic::Consume => 7,
        })
);

/// A client watches the film, or saves a user, under an id of its own, and tries again under the
/// same id until it is told a success.
async fn watch_or_save(play: &Play, operation: &Operation) -> check::Outcome<Answer> {
    let id = &operation.id;
    Ok(match operation.number % 2 {
        1 => {
            let streaming = play.service("video-streaming")?;
            let answer = streaming.try_get_with("/video", ("view-id", id)).await;
            Answer::of(&answer, id).of_kind(VIEW)
        }
        _ => {
            let user = json!({ "userId": id, "name": "Ada" });
            let users = play.service("user-management")?;
            let answer = users.try_post("/users/save", &user).await;
            Answer::of(&answer, id).of_kind(USER)
        }
    })
}
