//! Tells the history service of a view, by an HTTP call.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::rt::time::sleep;
use awc::Client;
use awc::error::SendRequestError;
use serde::Serialize;
use uuid::Uuid;

/// How often we call at most, for one view.
const TRIES: u32 = 4;

/// How long we wait before the second call; before each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A film was watched.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Which film.
    pub video_path: String,
    /// Which time: the same view keeps its id, however often it is told.
    pub view_id: Uuid,
}

/// Why the history was not told, or perhaps was and we don't know.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not reached, cut off or out of time. The view may be recorded all the same.
    #[error("no answer: {0}")]
    NoAnswer(#[from] SendRequestError),
    /// An answer other than 2xx.
    #[error("it answered {0}")]
    Answered(StatusCode),
}

/// The history service, as we call it.
pub struct History {
    client: Client,
    url: String,
}

impl History {
    /// `base_url` as `http://127.0.0.1:4001`; `timeout` is the most that one call may take.
    pub fn new(base_url: &str, timeout: Duration) -> Self {
        // HOLE 4: give up a call that takes longer than `timeout`.
        // Naive: without a word of ours, awc waits for five seconds.
        let client = Client::default();
        // END HOLE 4
        let url = format!("{base_url}/viewed");
        Self { client, url }
    }

    /// Where a view is told to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells of `view`, and tries again where that may help.
    pub async fn tell(&self, view: &View) -> Result<(), Failure> {
        // HOLE 5: try again, with longer and longer pauses, what may go better next time.
        // Naive: one call, and the view is lost if it fails.
        self.post(view).await
        // END HOLE 5
    }

    /// One call: `POST /viewed` with the view as JSON.
    async fn post(&self, view: &View) -> Result<(), Failure> {
        // HOLE 1: send the view to `self.url`; anything but a 2xx answer is a failure.
        todo!("HOLE 1: send the view to the history service")
        // END HOLE 1
    }
}
