//! What `just search 02` runs: two views and two users, in turn, each recorded once.

use check::Topic;
use search::{Answer, Operation, Part, Play, Scenario};
use serde_json::json;

search::main!(
    Scenario::new(4, watch_or_save)
        .part(Part::consumer("history").records("views").only(is_view))
        .part(
            Part::consumer("session-management")
                .records("users")
                .only(|number| !is_view(number))
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

fn is_view(number: usize) -> bool {
    number % 2 == 1
}

/// A client watches the film, or saves a user, under an id of its own, and tries again under the
/// same id until it is told a success.
async fn watch_or_save(play: &Play, operation: &Operation) -> check::Outcome<Answer> {
    let id = &operation.id;
    let answer = if is_view(operation.number) {
        let streaming = play.service("video-streaming")?;
        streaming.try_get_with("/video", ("view-id", id)).await
    } else {
        let user = json!({ "userId": id, "name": "Ada" });
        let users = play.service("user-management")?;
        users.try_post("/users/save", &user).await
    };
    Ok(Answer::of(&answer, id))
}
