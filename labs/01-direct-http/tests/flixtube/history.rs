//! The service `history`, its answers and its list.

use std::fmt::Display;

use check::{Lab, Outcome, Response, Service, expect, fail};
use serde_json::Value;
use uuid::Uuid;

/// The whole list: a check makes far fewer views.
const LIST: &str = "/history?skip=0&limit=1000";

/// The service `history`.
#[derive(Clone)]
pub struct History {
    pub service: Service,
}

/// A view in the history's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub path: String,
    pub id: String,
}

impl History {
    /// Starts it with an empty database.
    pub async fn open(lab: &Lab) -> Outcome<Self> {
        Self::start(lab.service("history").await?).await
    }

    /// Starts a service that has its settings already.
    pub async fn start(service: Service) -> Outcome<Self> {
        service.start().await?;
        Ok(Self { service })
    }

    /// Everything in the list.
    pub async fn list(&self) -> Outcome<Vec<View>> {
        let answer = self.service.get(LIST).await?;
        let json = answer.json();
        let views = json["history"].as_array().ok_or_else(|| {
            fail(r#"{"history": […]} from GET /history"#, answer.summary())
                .because("the list is what the service is for")
        })?;
        let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
        let view = |row: &Value| View {
            path: text(&row["videoPath"]),
            id: text(&row["viewId"]),
        };
        Ok(views.iter().map(view).collect())
    }

    /// The films in the list.
    pub async fn paths(&self) -> Outcome<Vec<String>> {
        let list = self.list().await?;
        Ok(list.into_iter().map(|view| view.path).collect())
    }

    /// Posts a view as a client would, expects 200 and the id, and returns the id.
    pub async fn record(&self, body: &Value) -> Outcome<String> {
        let answer = self.service.post("/viewed", body).await?;
        expect(answer.ok())
            .or(
                format!("200 OK for POST /viewed with {body}"),
                answer.summary(),
            )
            .hole(1)
            .because("it is a valid view; an older service sends no viewId")?;
        answered_id(&answer, body)
    }

    /// Waits for `posts`, the outcome of posts that were sent at once. When they fail, this tells
    /// whether the whole service stands still.
    pub async fn served(&self, posts: Outcome) -> Outcome {
        match posts {
            Err(_) if self.service.try_get("/health").await.is_err() => Err(fail(
                "the history answers views that are posted at the same moment",
                "it answers nothing any more, not even GET /health",
            )
            .because("a lock held over an `.await`, or a call that blocks, stops all requests")
            .hole(1)
            .into()),
            outcome => outcome,
        }
    }
}

/// The id in the `answer` to this `body`; it is the one posted, if the body has one.
fn answered_id(answer: &Response, body: &Value) -> Outcome<String> {
    let id = |json: &Value| {
        let id = json["viewId"].as_str()?;
        Uuid::parse_str(id).ok()
    };
    let told = id(&answer.json());
    expect(told.is_some())
        .or(
            r#"the view's id in the answer, as {"viewId": "…"}"#,
            answer.summary(),
        )
        .hole(1)
        .because("a caller that sent no id learns only here how its view is called")?;
    expect(id(body).is_none_or(|id| Some(id) == told))
        .or(
            format!("the answer has the id that was posted, {}", body["viewId"]),
            answer.summary(),
        )
        .hole(1)
        .because("a retry recorded under another id is one more view in the list")?;
    Ok(told.unwrap_or_default().to_string())
}

/// A list for a person to read.
pub fn comma<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => "nothing".to_owned(),
        false => items.join(", "),
    }
}
