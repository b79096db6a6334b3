//! Role `video-streaming`: streams the film and publishes that it was watched.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use anyhow::Result;
use common::{http, logging, settings, shutdown, video};
use uuid::Uuid;

use crate::exchange::VIEWED;
use crate::publisher::Publisher;
use crate::view::Viewed;

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let port = settings::port()?;
    // No audience: a view is for every service that subscribes, and promised to none.
    let publisher = Data::new(Publisher::new(settings::amqp_url()?, VIEWED, &[]));
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(publisher.clone())
            .service(web::resource("/video").route(web::get().to(watch)));
    };
    http::serve(port, shutdown, configure).await
}

/// `GET /video`. A 200 is a promise: every subscribed service will get the view, under the id
/// in the header `view-id`.
async fn watch(publisher: Data<Publisher>) -> actix_web::Result<HttpResponse> {
    let id = Uuid::new_v4();
    let viewed = Viewed {
        video_path: video::PATH.to_owned(),
    };
    if let Err(error) = publisher.publish(id, &viewed).await {
        let why = logging::causes(&error);
        log::error!("view {id} is not published: {why}");
        let text = "no film just now: the view is not confirmed; retry";
        return Err(http::error(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    Ok(video::response()
        .insert_header(("view-id", id.to_string()))
        .body(video::MP4))
}
