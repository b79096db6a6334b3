//! Role `recommendations`: knows what is watched most.
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
    let store = Store::open(&settings::database()?, "seen").await?;
    let seen = Data::new(store.clone());
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(seen.clone())
            .service(web::resource("/recommendations").route(web::get().to(list)));
    };
    let handle = async |message: Message<'_>| count(&store, message).await;
    try_join!(
        http::serve(port, shutdown.clone(), configure),
        consumer::run(&url, (VIEWED, "recommendations"), &shutdown, handle),
    )?;
    Ok(())
}

/// Counts a view: one row each, so that it is counted once however often it is delivered.
async fn count(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    // HOLE 5: a row under the message's id; tell what is broken from what has to wait.
    // Naive: it counts, and whatever goes wrong is tried again.
    let viewed: Viewed =
        serde_json::from_slice(message.body).map_err(|e| Refusal::NotNow(e.into()))?;
    let id = uuid::Uuid::new_v4().to_string();
    let counted = store.record(&id, &viewed.video_path).await;
    counted.map_err(Refusal::NotNow)?;
    Ok(())
    // END HOLE 5
}

/// `GET /recommendations?skip=&limit=`, what was watched most comes first.
async fn list(store: Data<Store>, page: Query<Paging>) -> actix_web::Result<HttpResponse> {
    let counts = store.most_frequent(page.skip, page.limit).await;
    let films: Vec<_> = counts
        .map_err(http::internal)?
        .into_iter()
        .map(|(path, views)| json!({ "videoPath": path, "views": views }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "recommendations": films })))
}
