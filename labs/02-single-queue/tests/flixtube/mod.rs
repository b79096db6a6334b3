//! FlixTube over queues, as the checks use it.

use std::time::Duration;

use anyhow::Context;
use awc::Client;
use check::run::NO_HOLE;
use check::wiretap::{CheckEvent, Entry, Event, Frame, Method, Side};
use check::{Failure, Lab, Outcome, Response, Seen, Service, Stop, fail};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The queue from `video-streaming` to `history`.
pub const VIEWED: &str = "viewed";

/// The queue from `user-management` to `session-management`.
pub const USERS: &str = "users";

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

const A_MOMENT: Duration = Duration::from_millis(300);

/// The hole to look at when a service cannot publish: the confirm's, once it has sent a message
/// to an exchange that exists.
async fn hole_of_publish(lab: &Lab, service: &Service) -> u32 {
    let of = |method| lab.journal().methods(&service.name(), method);
    let no_exchange = |close: &Frame| close.args["reply_code"] == 404;
    // An answer that waits for no confirm may come before its publish.
    let publishes = async || {
        Ok(Seen::when(
            !of(Method::BasicPublish).is_empty(),
            String::new,
        ))
    };
    let soon = lab.eventually_within(A_MOMENT, "a publish", "", publishes);
    let sent = soon.await.is_ok();
    let closed = of(Method::ChannelClose);
    match sent && !closed.iter().any(no_exchange) {
        true => 5,
        false => 1,
    }
}

/// The failure of a request that the service must answer with success, and does not.
pub async fn not_published(
    lab: &Lab,
    service: &Service,
    expected: &str,
    why: &str,
    answer: &Response,
) -> Failure {
    let hole = hole_of_publish(lab, service).await;
    let told = told(service, answer);
    match misrouted(lab, &service.name()) {
        Some(sent) => fail(expected, format!("{sent}; {told}"))
            .because(
                "the default exchange routes a message to the queue that its routing key names",
            )
            .hole(1),
        None => fail(expected, told).because(why).hole(hole),
    }
}

/// Where the service published its last message, unless that leads to a queue that it declared.
fn misrouted(lab: &Lab, service: &str) -> Option<String> {
    let of = |method| lab.journal().methods(service, method);
    let declared = of(Method::QueueDeclare).pop()?.args["queue"].take();
    let sent = of(Method::BasicPublish).pop()?.args;
    let (exchange, key) = (&sent["exchange"], &sent["routing_key"]);
    (exchange != "" || *key != declared).then(|| {
        format!(
            "{service} declared queue {declared}, and published to exchange {exchange} with routing \
             key {key} (basic.publish)"
        )
    })
}

/// Leads to HOLE 2 when the service, whose queue the check deleted, has opened a channel since and
/// declared nothing, although it declared the queue before.
pub fn blame_declare(lab: &Lab, service: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(failure) if declared_only_once(lab, service) => {
            let observed = format!(
                "{service} opened a channel (channel.open) after the queue was deleted, and sent no \
                 queue.declare: {}",
                failure.observed
            );
            fail(failure.expected, observed)
                .because("a deleted queue exists again only once a client declares it: declare it on each new channel")
                .hole(2)
                .into()
        }
        other => other,
    }
}

fn declared_only_once(lab: &Lab, service: &str) -> bool {
    let sent = |entries: &[Entry], method| {
        entries.iter().any(|entry| match &entry.event {
            Event::Amqp(frame) => {
                frame.service == service && frame.from == Side::Client && frame.method == method
            }
            _ => false,
        })
    };
    let deletes = |entry: &Entry| {
        matches!(
            &entry.event,
            Event::Check {
                what: CheckEvent::QueueDeleted(_)
            }
        )
    };
    lab.journal().read(|entries| {
        let deleted = entries.iter().rposition(deletes).unwrap_or(0);
        let (before, after) = entries.split_at(deleted);
        sent(before, Method::QueueDeclare)
            && sent(after, Method::ChannelOpen)
            && !sent(after, Method::QueueDeclare)
    })
}

/// Watches one video and returns the id of the view.
pub async fn watch(lab: &Lab, streaming: &Service) -> Outcome<String> {
    let answer = streaming.get("/video").await?;
    let expected = "GET /video answers 200 with the film and its view-id";
    if let Some(id) = watched(&answer) {
        return Ok(id);
    }
    let why = "the broker is there, so the view can be published";
    let failure = not_published(lab, streaming, expected, why, &answer).await;
    Err(failure.into())
}

/// The view that an answer promises to record.
pub fn watched(answer: &Response) -> Option<String> {
    answer
        .header(VIEW_ID)
        .filter(|_| answer.ok())
        .map(str::to_owned)
}

/// The header that names a view, in an answer and in a retry.
const VIEW_ID: &str = "view-id";

/// The view that was not published, as this answer names it.
pub fn unpublished(answer: &Response) -> Outcome<String> {
    let id = answer.header(VIEW_ID).map(str::to_owned);
    id.ok_or_else(|| {
        fail(
            "a 503 names the view in its header view-id",
            answer.summary(),
        )
        .because("the broker may have the view: a retry must be the same view, so it counts once")
        .hole(NO_HOLE)
        .into()
    })
}

/// Watches a video again under the id of an earlier view. Returns the view that the answer
/// promises to record, if it does.
pub async fn watch_again(lab: &Lab, streaming: &Service, id: &str) -> Outcome<Option<String>> {
    let request = Client::default().get(streaming.url("/video"));
    let answer = request.insert_header((VIEW_ID, id)).send().await;
    let answer = answer.map_err(|error| anyhow::anyhow!("{error}"));
    let answer = answer.context("GET /video was not answered")?;
    let status = answer.status();
    lab.journal()
        .note(format!("GET /video again, as view {id}: {status}"));
    let named = answer
        .headers()
        .get(VIEW_ID)
        .and_then(|id| id.to_str().ok());
    Ok(named.filter(|_| status.is_success()).map(str::to_owned))
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
    let body = answer.json();
    if let Some(id) = body["userId"].as_str().filter(|_| answer.ok()) {
        return Ok(id.to_owned());
    }
    let expected = "POST /users/save answers 200 with a userId";
    let why = "the broker is there, so the user can be published";
    let failure = not_published(lab, users, expected, why, &answer).await;
    Err(failure.into())
}

/// How many clients [`save_many`] has at once.
const CLIENTS: usize = 8;

/// Saves `count` users of the same name, many at once.
pub async fn save_many(users: &Service, count: usize) -> Outcome {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (users, user) = (users.clone(), json!({ "name": "Grace" }));
        clients.spawn_local(async move {
            for _ in 0..count / CLIENTS {
                users.post("/users/save", &user).await?;
            }
            Ok(())
        });
    }
    clients.join_all().await.into_iter().collect()
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
    let known = lab.each_once(expected, Some(USERS), ids, look).await;
    known.map_err(|stop| blame_message(lab, ids, stop))?;
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
    let look = async || views(history).await;
    let recorded = lab.each_once(expected, Some(VIEWED), ids, look).await;
    recorded.map_err(|stop| blame_message(lab, ids, stop))
}

/// Leads to HOLE 1 when what was published explains the failure: a transient message, or messages
/// of which none has a promised id.
fn blame_message(lab: &Lab, ids: &[String], stop: Stop) -> Stop {
    let published = lab
        .journal()
        .frames(|frame| frame.method == Method::BasicPublish);
    let messages = || published.iter().filter_map(|frame| frame.message.as_ref());
    let transient = messages().any(|message| !message.persistent);
    let carried = |id: &String| messages().any(|message| message.id.as_ref() == Some(id));
    let nameless = messages().next().is_some() && !ids.iter().any(carried);
    match stop {
        Stop::Failed(failure) if transient || nameless => failure.hole(1).into(),
        other => other,
    }
}
