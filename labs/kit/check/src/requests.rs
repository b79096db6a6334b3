//! HTTP requests to a service.

use std::time::Duration;

use awc::http::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::response::{self, Response};
use super::wait::LOOK_AGAIN;
use super::{Outcome, Service, Span, fail};

/// How long to wait for the end of a service whose port is closed: far longer than it takes.
const LAST_BREATH: Duration = Duration::from_millis(500);

impl Service {
    /// The URL of `path` on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port())
    }

    /// `GET path`.
    ///
    /// # Errors
    /// A failure when no answer comes.
    pub async fn get(&self, path: &str) -> Outcome<Response> {
        let span = self.0.lab.span();
        let answer = self.try_get(path).await;
        self.answered(&span, "GET", path, answer).await
    }

    /// `GET path`, where no answer is not a failure.
    ///
    /// # Errors
    /// Why there is no answer, as text.
    pub async fn try_get(&self, path: &str) -> Result<Response, String> {
        self.request(Method::GET, path, None, None).await
    }

    /// `GET path` with this header, where no answer is not a failure.
    ///
    /// # Errors
    /// Why there is no answer, as text.
    pub async fn try_get_with(&self, path: &str, header: (&str, &str)) -> Result<Response, String> {
        self.request(Method::GET, path, Some(header), None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// A failure when no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Outcome<Response> {
        self.send(Method::POST, path, "application/json", body.to_string())
            .await
    }

    /// `POST path` with a JSON body, where no answer is not a failure.
    ///
    /// # Errors
    /// Why there is no answer, as text.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<Response, String> {
        let body = Some(("application/json", body.to_string().into_bytes()));
        self.request(Method::POST, path, None, body).await
    }

    /// Any request.
    ///
    /// # Errors
    /// A failure when no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Outcome<Response> {
        let span = self.0.lab.span();
        let name = method.to_string();
        let body = Some((content_type, body.into()));
        let answer = self.request(method, path, None, body).await;
        self.answered(&span, &name, path, answer).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        header: Option<(&str, &str)>,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response, String> {
        let what = format!("{method} {path} of {}", self.name());
        let url = self.url(path);
        let answer = response::call(&self.0.lab.span(), method, &url, header, body).await;
        let end = match &answer {
            Ok(answer) => answer.summary(),
            Err(error) => format!("{error:#}"),
        };
        if path != "/health" {
            self.0.lab.journal().note(format!("{what}: {end}"));
        }
        answer.map_err(|_| end)
    }

    async fn answered(
        &self,
        span: &Span,
        method: &str,
        path: &str,
        answer: Result<Response, String>,
    ) -> Outcome<Response> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // A service that ends closes its port first. Its end explains more than the closed port.
        let over = Instant::now() + LAST_BREATH;
        while Instant::now() < over {
            self.0.lab.all_well()?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let expected = format!("{} answers {method} {path}", self.name());
        let failure = fail(expected, format!("no answer: {error}"))
            .because("a caller without an answer cannot know what happened");
        span.judge(Err(failure.into()))
    }
}
