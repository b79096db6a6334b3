//! FlixTube over queues, as the checks use it.

use check::wiretap::Method;
use check::{Lab, Outcome, Response, Seen, Service, fail};
use serde_json::{Value, json};

/// The queue from `video-streaming` to `history`.
pub const VIEWED: &str = "viewed";

/// Starts `history`, and waits until it consumes.
pub async fn consuming_history(lab: &Lab) -> Outcome<Service> {
    let history = lab.service("history").await?;
    consumes(lab, history).await
}

/// Starts `history` with the settings that it has, and waits until it consumes.
pub async fn consumes(lab: &Lab, history: Service) -> Outcome<Service> {
    history.start().await?;
    lab.consumers(VIEWED, 1).await?;
    Ok(history)
}

/// Waits until queue `viewed` holds `count` ready messages.
pub async fn waiting(lab: &Lab, count: u64, why: &str) -> Outcome {
    let expected = format!("{count} message(s) ready in queue `{VIEWED}`");
    lab.eventually(&expected, why, async || {
        let ready = lab.queue(VIEWED).await?.map_or(0, |queue| queue.ready);
        let observed = || format!("{ready} ready; {}", last_publish(lab));
        Ok(Seen::when(ready == count, observed).hole(1))
    })
    .await
}

/// The last `basic.publish` of `video-streaming`, in words.
fn last_publish(lab: &Lab) -> String {
    let published = lab
        .journal()
        .methods("video-streaming", Method::BasicPublish);
    published.last().map_or("no basic.publish".into(), |frame| {
        let (exchange, key) = (&frame.args["exchange"], &frame.args["routing_key"]);
        format!("the last was published to exchange {exchange} with routing key {key}")
    })
}

/// The hole to look at when a service cannot publish: the confirm's, once it has sent a message.
fn hole_of_publish(lab: &Lab, service: &Service) -> u32 {
    let published = lab.journal().methods(&service.name(), Method::BasicPublish);
    if published.is_empty() { 1 } else { 5 }
}

/// Watches one video and returns the id of the view.
pub async fn watch(lab: &Lab, streaming: &Service) -> Outcome<String> {
    let answer = streaming.get("/video").await?;
    let expected = "GET /video answers 200 with the film and its view-id";
    watched(&answer).ok_or_else(|| {
        fail(expected, told(streaming, &answer))
            .because("the broker is there, so the view can be published")
            .hole(hole_of_publish(lab, streaming))
            .into()
    })
}

/// The view that an answer promises to record.
pub fn watched(answer: &Response) -> Option<String> {
    answer
        .header("view-id")
        .filter(|_| answer.ok())
        .map(str::to_owned)
}

/// An answer that was not expected, with the last line of the service's log.
pub fn told(service: &Service, answer: &Response) -> String {
    let words = service.last_words(1).join("");
    format!("{}; last in its log:\n{words}", answer.summary())
}

/// Saves a user for each name and returns their ids.
pub async fn save_all(lab: &Lab, users: &Service, names: &[&str]) -> Outcome<Vec<String>> {
    let mut ids = Vec::new();
    for name in names {
        ids.push(save(lab, users, name).await?);
    }
    Ok(ids)
}

async fn save(lab: &Lab, users: &Service, name: &str) -> Outcome<String> {
    let answer = users.post("/users/save", &json!({ "name": name })).await?;
    let id = answer.json()["userId"].as_str().map(str::to_owned);
    let expected = "POST /users/save answers 200 with a userId";
    id.ok_or_else(|| {
        fail(expected, told(users, &answer))
            .because("the broker is there, so the user can be published")
            .hole(hole_of_publish(lab, users))
            .into()
    })
}

/// Waits until the session service knows each of these users once, by one of the names.
pub async fn all_known(
    lab: &Lab,
    sessions: &Service,
    expected: &str,
    names: &[&str],
    ids: &[String],
) -> Outcome {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let look = async || {
        let mut answer = sessions.get("/users").await?.json();
        let users = answer["users"].take();
        let users = users.as_array().into_iter().flatten();
        let named = users.filter(|user| names.contains(&&*text(&user["name"])));
        Ok(named.map(|user| text(&user["userId"])).collect())
    };
    lab.each_once(expected, Some("users"), ids, look).await?;
    Ok(())
}

/// Watches `count` videos, one after the other.
pub async fn watch_all(lab: &Lab, streaming: &Service, count: usize) -> Outcome<Vec<String>> {
    let mut views = Vec::new();
    for _ in 0..count {
        views.push(watch(lab, streaming).await?);
    }
    Ok(views)
}

/// The ids of the recorded views, in order.
pub async fn views(history: &Service) -> Outcome<Vec<String>> {
    let answer = history.get("/history?limit=1000").await?.json();
    let rows = answer["history"].as_array().cloned().unwrap_or_default();
    let id = |row: &Value| row["viewId"].as_str().unwrap_or("?").to_owned();
    Ok(rows.iter().map(id).collect())
}

/// Waits until each of the views is recorded once, and returns all that is recorded.
pub async fn all_recorded(
    lab: &Lab,
    history: &Service,
    expected: &str,
    ids: &[String],
) -> Outcome<Vec<String>> {
    lab.each_once(expected, Some(VIEWED), ids, async || views(history).await)
        .await
}
