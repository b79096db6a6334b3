//! Role `video-streaming`: streams the film, and publishes that it was watched.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker.

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use anyhow::Result;
use common::{http, logging, settings, shutdown, video};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::publisher::Publisher;
use crate::queue;

/// A film was watched.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Viewed {
    video_path: &'static str,
}

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let port = settings::port()?;
    let publisher = Data::new(Publisher::new(settings::amqp_url()?, queue::VIEWED));
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(publisher.clone())
            .service(web::resource("/video").route(web::get().to(watch)));
    };
    http::serve(port, shutdown, configure).await
}

/// The header that names a view, in each answer and in the request of a viewer that retries.
const VIEW_ID: &str = "view-id";

/// `GET /video`. A 200 is a promise: the history will record this view, under the id in the
/// header `view-id`. A viewer that retries after a 503 sends that header, because the view may
/// have reached the broker already: under the same id it counts once.
async fn watch(publisher: Data<Publisher>, request: HttpRequest) -> HttpResponse {
    let retried = request.headers().get(VIEW_ID);
    let retried = retried.and_then(|id| id.to_str().ok()?.parse().ok());
    let id = retried.unwrap_or_else(Uuid::new_v4);
    let named = (VIEW_ID, id.to_string());
    let viewed = Viewed {
        video_path: video::PATH,
    };
    if let Err(error) = publisher.publish(id, &viewed).await {
        let why = logging::causes(&error);
        log::error!("view {id} is not published: {why}");
        let text = "no film just now: the view could not be published; try again";
        let mut answer = HttpResponse::ServiceUnavailable();
        return answer.insert_header(named).json(json!({ "error": text }));
    }
    video::response().insert_header(named).body(video::MP4)
}
