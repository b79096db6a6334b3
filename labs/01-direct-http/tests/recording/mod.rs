//! HOLE 1: the history records each view once, and answers when that is done.

use std::collections::BTreeSet;

use actix_web::http::Method;
use check::{Lab, Outcome, expect};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::flixtube::{History, JSON, comma};

/// Sends a view twice, one after the other and at the same moment.
pub async fn told_twice(lab: Lab) -> Outcome {
    let history = History::open(&lab).await?;
    let mut views = vec![view("./twice.mp4")];
    history.record(&views[0]).await?;
    history.record(&views[0]).await?;
    listed_once(&history, &views).await?;

    let at_once = [view("./a.mp4"), view("./b.mp4")];
    let mut posts = JoinSet::new();
    let twice = [at_once.clone(), at_once.clone()].concat();
    for view in twice {
        let history = history.clone();
        posts.spawn_local(async move { history.record(&view).await.map(drop) });
    }
    let posts = posts.join_all().await.into_iter().collect();
    history.served(posts).await?;
    views.extend(at_once);
    listed_once(&history, &views).await
}

/// The list has each of `views` once, and nothing else.
async fn listed_once(history: &History, views: &[Value]) -> Outcome {
    let list = history.list().await?;
    let listed: BTreeSet<_> = list.iter().map(|view| &*view.id).collect();
    let posted: BTreeSet<_> = views
        .iter()
        .filter_map(|view| view["viewId"].as_str())
        .collect();
    expect(list.len() == posted.len() && listed == posted)
        .or(
            format!(
                "one view in the history for each id posted: {}",
                comma(posted)
            ),
            comma(list.iter().map(|view| &view.id)),
        )
        .hole(1)
        .because("a caller whose 200 was lost posts the same view again")
}

/// Sends what is not a view.
pub async fn bad_input(lab: Lab) -> Outcome {
    let history = History::open(&lab).await?;
    history.record(&view("./before.mp4")).await?;

    for (what, body) in bad_bodies(&lab) {
        refused(&history, what, Method::POST, "/viewed", JSON, body).await?;
    }
    let good = r#"{"videoPath": "./a.mp4"}"#;
    for (what, method, path, kind, body) in [
        ("text/plain", Method::POST, "/viewed", "text/plain", good),
        ("a view as its body", Method::PUT, "/viewed", JSON, good),
        ("a negative skip", Method::GET, "/history?skip=-1", JSON, ""),
        ("a limit of 0", Method::GET, "/history?limit=0", JSON, ""),
    ] {
        refused(&history, what, method, path, kind, body.into()).await?;
    }

    history.record(&view("./after.mp4")).await?;
    let paths = history.paths().await?;
    expect(paths == ["./before.mp4", "./after.mp4"])
        .or("the two good views in the history", comma(&paths))
        .because("a refused request must leave no trace")
}

/// Bodies that are not a view, each with what is wrong with it.
fn bad_bodies(lab: &Lab) -> Vec<(&'static str, Vec<u8>)> {
    let huge = json!({ "videoPath": "x".repeat(100_000) }).to_string();
    let garbage: [u8; 40] = lab.random(rand::RngExt::random);
    let no_uuid = r#"{"videoPath": "./a.mp4", "viewId": "7"}"#;
    vec![
        ("no body", vec![]),
        ("half of a JSON object", r#"{"videoPath": "./a"#.into()),
        ("bytes that are not text", garbage.into()),
        ("no videoPath", "{}".into()),
        ("another field", r#"{"path": "./a.mp4"}"#.into()),
        ("a number as videoPath", r#"{"videoPath": 7}"#.into()),
        ("null as videoPath", r#"{"videoPath": null}"#.into()),
        ("an empty videoPath", r#"{"videoPath": ""}"#.into()),
        ("a viewId that is not a UUID", no_uuid.into()),
        ("a huge body", huge.into()),
    ]
}

/// Sends a request that is wrong because of `what`.
async fn refused(
    history: &History,
    what: &str,
    method: Method,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> Outcome {
    let expected = format!("4xx for {method} {path} with {what}");
    let answer = history.service.send(method, path, kind, body).await?;
    expect((400..500).contains(&answer.status))
        .or(expected, answer.summary())
        .because("4xx tells the caller that the request itself is wrong")
}

/// Kills the history after its answer, and asks it again.
pub async fn killed_after_200(lab: Lab) -> Outcome {
    let history = lab.service("history").await?;
    let history = History::start(history.with("DATABASE_TIMEOUT_MS", 100)).await?;
    let path = format!("./videos/{:x}.mp4", lab.random(rand::Rng::next_u32));
    let view = view(&path);
    fails_while_locked(&history, &view).await?;

    history.record(&view).await?;
    let why = "a 200 is a promise: the caller now forgets the view";
    in_list(&history, &path, "after its 200", why).await?;
    history.service.kill().await?;
    history.service.start().await?;
    in_list(&history, &path, "after kill -9 and restart", why).await?;
    // What the restarted history knows comes from its file.
    history.record(&view).await?;
    let why = "a caller may retry when the history is back; its memory of ids is gone";
    in_list(&history, &path, "told again after a restart", why).await
}

/// The one view in the list is that of `path`.
async fn in_list(history: &History, path: &str, when: &str, why: &str) -> Outcome {
    let paths = history.paths().await?;
    expect(paths == [path])
        .or(
            format!("{path} in the history, once, {when}"),
            comma(&paths),
        )
        .because(why)
}

/// Posts the view while the history cannot write.
async fn fails_while_locked(history: &History, view: &Value) -> Outcome {
    let locked = history.service.lock_database()?;
    let answer = history.service.post("/viewed", view).await?;
    drop(locked);
    expect(answer.status >= 500)
        .or(
            "an error while the database is locked: the view cannot be committed",
            format!("{} while it was locked", answer.summary()),
        )
        .because("a 200 is a promise: the caller now forgets the view")
}

/// A view under a new id.
fn view(path: &str) -> Value {
    json!({ "videoPath": path, "viewId": Uuid::new_v4() })
}
