//! What `just search 02` runs: two views and two users, in turn, each recorded once.

mod holes;

use search::{Answer, Operation, Role, Run, Scenario};
use serde_json::json;

/// What history records, and what session-management does.
const VIEW: &str = "view";
const USER: &str = "user";

search::main!(
    Scenario::new(4, watch_or_save)
        .role(
            Role::consumer("history")
                .records("views")
                .wants(|kind| kind == VIEW)
        )
        .role(
            Role::consumer("session-management")
                .records("users")
                .wants(|kind| kind == USER)
        )
        .role(Role::server("video-streaming"))
        .role(Role::server("user-management"))
        .holes(holes::hole_for)
);

/// A client watches the film, or saves a user, under an id of its own, and tries again under the
/// same id until it is told a success.
async fn watch_or_save(run: &Run, operation: &Operation) -> check::Outcome<Answer> {
    let id = &operation.id;
    Ok(match operation.number % 2 {
        1 => {
            let streaming = run.service("video-streaming")?;
            let answer = streaming.try_get_with("/video", ("view-id", id)).await;
            Answer::of(&answer, id).of_kind(VIEW)
        }
        _ => {
            let user = json!({ "userId": id, "name": "Ada" });
            let users = run.service("user-management")?;
            let answer = users.try_post("/users/save", &user).await;
            Answer::of(&answer, id).of_kind(USER)
        }
    })
}
