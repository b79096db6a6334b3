//! Tells the history service of a view, by HTTP.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::rt::time::sleep;
use awc::Client;
use awc::error::SendRequestError;
use serde::Serialize;
use uuid::Uuid;

/// How many calls we make for one view, at most.
const TRIES: u32 = 4;

/// The pause before the second call; before each further call it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A film was watched.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Which film.
    pub video_path: String,
    /// Which view: all calls for one view have the same id.
    pub view_id: Uuid,
}

/// Why we don't know that the history recorded a view.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not reached, cut off or out of time. The history may have recorded the view.
    #[error("no answer: {0}")]
    NoAnswer(#[from] SendRequestError),
    /// An answer other than 2xx.
    #[error("it answered {0}")]
    Answered(StatusCode),
}

impl Failure {
    /// Whether the same call may succeed later.
    fn may_pass(&self) -> bool {
        // HOLE 6: tell a failure that may pass from a refusal, which stays one.
        // Naive: every failure passes, also a refusal of our request.
        true
        // END HOLE 6
    }
}

/// A client of the history service.
pub struct History {
    client: Client,
    url: String,
}

impl History {
    /// `base_url` as `http://127.0.0.1:4001`; `timeout` is the longest that one call may take.
    pub fn new(base_url: &str, timeout: Duration) -> Self {
        // HOLE 4: give up a call that takes longer than `timeout`.
        // Naive: awc's default limit, which is five seconds.
        let client = Client::default();
        // END HOLE 4
        let url = format!("{base_url}/viewed");
        Self { client, url }
    }

    /// The address that each call goes to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells the history of `view`, and retries where that may help.
    pub async fn tell(&self, view: &View) -> Result<(), Failure> {
        // HOLE 5: retry a failure that `may_pass`, with longer and longer pauses.
        // Naive: one call, and the view is lost if it fails.
        self.post(view).await
        // END HOLE 5
    }

    /// One call: `POST /viewed` with the view as JSON.
    async fn post(&self, view: &View) -> Result<(), Failure> {
        // HOLE 2: send the view to `self.url`; anything but a 2xx answer is a failure.
        todo!("HOLE 2: send the view to the history service")
        // END HOLE 2
    }
}
