//! Role `video-streaming`: streams the film and has the history told that it was watched.
//!
//! Settings: `PORT`; `HISTORY_URL`, as `http://127.0.0.1:4001`; `HISTORY_TIMEOUT_MS`, the
//! most that one call of the history may take (default 1000).

use std::time::Duration;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, rt};
use anyhow::Result;
use common::{http, settings, shutdown, video};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::tell::{History, View};

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let port = settings::port()?;
    let url = settings::http_url("HISTORY_URL")?;
    let timeout = settings::millis("HISTORY_TIMEOUT_MS", Duration::from_secs(1))?;

    // Knows the tasks that outlive their request, so that we can wait for them at the end.
    let tasks = TaskTracker::new();
    let tracker = tasks.clone();
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(Data::new(History::new(&url, timeout)))
            .app_data(Data::new(tracker.clone()))
            .service(web::resource("/video").route(web::get().to(watch)));
    };
    let drain = async move {
        tasks.close();
        tasks.wait().await;
    };
    http::serve_and_drain(port, shutdown, configure, drain).await
}

/// `GET /video`. The header `view-id` tells the viewer under which id this view is recorded.
async fn watch(
    history: Data<History>,
    tasks: Data<TaskTracker>,
) -> actix_web::Result<HttpResponse> {
    let view = View {
        video_path: video::PATH.to_owned(),
        view_id: Uuid::new_v4(),
    };
    let film = video::response()
        .insert_header(("view-id", view.view_id.to_string()))
        .body(video::MP4);

    // HOLE 3: have the history told by a task of its own; the film does not wait for it.
    // Naive: the viewer waits for the history, and gets no film when the history fails.
    history
        .tell(&view)
        .await
        .map_err(actix_web::error::ErrorBadGateway)?;
    // END HOLE 3

    Ok(film)
}
