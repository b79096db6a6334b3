//! Role `history`: records the views, and lists them.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file, one for
//! all instances.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Query, ServiceConfig};
use anyhow::Result;
use common::http::{self, Paging};
use common::store::Store;
use common::{settings, shutdown};
use serde_json::json;
use tokio::try_join;

use crate::consumer::{self, Message, Refusal};
use crate::exchange::VIEWED;
use crate::view::Viewed;

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, "views").await?;
    let views = Data::new(store.clone());
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(views.clone())
            .service(web::resource("/history").route(web::get().to(list)));
    };
    let handle = async |message: Message<'_>| record(&store, message).await;
    try_join!(
        http::serve(port, shutdown.clone(), configure),
        consumer::run(&url, (VIEWED, "history"), &shutdown, handle),
    )?;
    Ok(())
}

/// Records a view under its message's id, so that a redelivery changes nothing.
async fn record(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let viewed: Viewed =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let recorded = store.record(&message.id, &viewed.video_path).await;
    if recorded.map_err(Refusal::NotNow)? {
        log::info!("view {:.8}: {}", message.id, viewed.video_path);
    }
    Ok(())
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
