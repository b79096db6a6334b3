//! Role `video-streaming`: streams the film, and tells the history that it was watched.
//!
//! Settings: `PORT`; `HISTORY_URL`, as `http://127.0.0.1:4001`; `HISTORY_TIMEOUT_MS`, the
//! longest that one call of the history may take (default 1000).

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::rt::time::timeout;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer, rt};
use anyhow::Result;
use common::{http, settings, shutdown, video};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::tell::{History, View};

/// How long the calls under way may take after SIGTERM. Docker kills a container after 10 s.
const DRAIN: Duration = Duration::from_secs(7);

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let address = SocketAddr::new(settings::bind()?, settings::port()?);
    let url = settings::http_url("HISTORY_URL")?;
    let limit = settings::millis("HISTORY_TIMEOUT_MS", Duration::from_secs(1))?;

    // Counts the tasks that outlive their request, so that we can wait for them at the end.
    let tasks = TaskTracker::new();
    let tracker = tasks.clone();
    let app = move || {
        App::new()
            .app_data(Data::new(History::new(&url, limit)))
            .app_data(Data::new(tracker.clone()))
            .route("/health", web::get().to(HttpResponse::Ok))
            .service(web::resource("/video").route(web::get().to(watch)))
    };
    let server = HttpServer::new(app)
        .workers(1) // one thread serves thousands, and its log stays in order
        .disable_signals() // `shutdown` listens for them
        .shutdown_timeout(2) // seconds for the answers under way
        .bind(address)
        .map_err(|cause| http::cannot_listen(address, cause))?
        .run();
    let handle = server.handle();
    rt::spawn(async move {
        shutdown.cancelled().await;
        handle.pause().await; // accept no new connection
        tasks.close();
        // Before the server stops: it drops the tasks of its threads.
        if timeout(DRAIN, tasks.wait()).await.is_err() {
            let left = tasks.len();
            log::error!("{left} views are not told after {DRAIN:?}, and are lost");
        }
        handle.stop(true).await;
    });
    server.await?;
    Ok(())
}

/// `GET /video`. The history records this view under the id in the header `view-id`.
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

    // HOLE 3: tell the history in a task of its own; the film does not wait for it.
    // Naive: the viewer waits for the history, and gets no film when the history fails.
    history
        .tell(&view)
        .await
        .map_err(actix_web::error::ErrorBadGateway)?;
    // END HOLE 3

    Ok(film)
}
