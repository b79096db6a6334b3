//! Role `session-management`: knows every user that was saved, so that they can log in.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Query, ServiceConfig};
use anyhow::Result;
use common::http::{self, Paging};
use common::store::Store;
use common::{settings, shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::try_join;
use uuid::Uuid;

use crate::consumer::{self, Message, Refusal};
use crate::queue;

/// A user, as the user service publishes them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    user_id: Uuid,
    name: String,
}

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, "users").await?;
    let users = Data::new(store.clone());
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(users.clone())
            .service(web::resource("/users").route(web::get().to(list)));
    };
    let handle = async |message: Message<'_>| record(&store, message).await;
    try_join!(
        http::serve(port, shutdown.clone(), configure),
        consumer::run(&url, queue::USERS, &shutdown, handle),
    )?;
    Ok(())
}

/// Records a user under their own id, so that a redelivery changes nothing.
async fn record(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let saved: Saved =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let recorded = store.record(&saved.user_id.to_string(), &saved.name).await;
    if !recorded.map_err(Refusal::NotNow)? {
        log::info!("user {} came again and is known already", saved.user_id);
    }
    Ok(())
}

/// `GET /users?skip=&limit=`, in order of arrival.
async fn list(store: Data<Store>, page: Query<Paging>) -> actix_web::Result<HttpResponse> {
    let rows = store.list(page.skip, page.limit).await;
    let users: Vec<_> = rows
        .map_err(http::internal)?
        .into_iter()
        .map(|row| json!({ "userId": row.id, "name": row.value }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "users": users })))
}
