//! Role `history`: records each view, once, and lists them.
//!
//! Settings: `PORT`; `DATABASE`, the path of the SQLite file.

use std::net::SocketAddr;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, Query};
use actix_web::{App, HttpResponse, HttpServer};
use anyhow::Result;
use common::http::{self, Paging};
use common::store::Store;
use common::{settings, shutdown};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// A view, as a video service tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Viewed {
    video_path: String,
    /// An older service sends none; each of its calls then counts as a new view.
    view_id: Option<Uuid>,
}

const EXPECTED: &str = r#"{"videoPath": "./videos/a.mp4", "viewId": "<uuid>"}"#;

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let address = SocketAddr::new(settings::bind()?, settings::port()?);
    let store = Store::open(&settings::database()?, "views").await?;
    let app = move || {
        App::new()
            .app_data(Data::new(store.clone()))
            .app_data(http::json_body(EXPECTED))
            .app_data(http::query_errors())
            .route("/health", web::get().to(HttpResponse::Ok))
            .service(web::resource("/viewed").route(web::post().to(viewed)))
            .service(web::resource("/history").route(web::get().to(list)))
    };
    HttpServer::new(app)
        .workers(1) // one thread serves thousands, and its log stays in order
        .shutdown_signal(shutdown.cancelled_owned())
        .shutdown_timeout(2) // seconds for the answers under way
        .bind(address)
        .map_err(|cause| http::cannot_listen(address, cause))?
        .run()
        .await?;
    Ok(())
}

/// `POST /viewed`. A 200 is a promise: the view is on disk.
async fn viewed(store: Data<Store>, body: Json<Viewed>) -> actix_web::Result<HttpResponse> {
    let Viewed {
        video_path,
        view_id,
    } = body.into_inner();
    if video_path.is_empty() {
        let text = format!("videoPath is empty; expected JSON like {EXPECTED}");
        return Err(http::error(StatusCode::BAD_REQUEST, text));
    }

    // HOLE 1: record the view under its id, or a fresh one; answer 200 when that is done.
    todo!("HOLE 1: record the view, then answer 200")
    // END HOLE 1
}

/// `GET /history?skip=&limit=`, in order of arrival.
async fn list(store: Data<Store>, page: Query<Paging>) -> actix_web::Result<HttpResponse> {
    let rows = store.list(page.skip, page.limit).await;
    let views: Vec<_> = rows
        .map_err(http::internal)?
        .into_iter()
        .map(|row| json!({ "videoPath": row.value, "viewId": row.id }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "history": views })))
}
