//! Role `user-management`: takes new users and publishes that they were saved.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, ServiceConfig};
use anyhow::Result;
use common::{http, logging, settings, shutdown};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::publisher::Publisher;
use crate::queue;

/// What a client sends; after a 503 with the `userId` of that answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewUser {
    name: String,
    user_id: Option<Uuid>,
}

const EXPECTED: &str = r#"{"name": "Ada"}"#;

/// A user was saved.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    user_id: Uuid,
    name: String,
}

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let port = settings::port()?;
    let publisher = Data::new(Publisher::new(settings::amqp_url()?, queue::USERS));
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(publisher.clone())
            .app_data(http::json_body(EXPECTED))
            .service(web::resource("/users/save").route(web::post().to(save)));
    };
    http::serve(port, shutdown, configure).await
}

/// `POST /users/save`. A 200 is a promise: the broker keeps this user for the other services. A
/// 503 has the `userId`, too: with it, a retry is the same user.
async fn save(publisher: Data<Publisher>, body: Json<NewUser>) -> actix_web::Result<HttpResponse> {
    let NewUser { name, user_id } = body.into_inner();
    if name.trim().is_empty() {
        let text = format!("name is empty; expected JSON like {EXPECTED}");
        return Err(http::error(StatusCode::BAD_REQUEST, text));
    }
    let user_id = user_id.unwrap_or_else(Uuid::new_v4);
    let saved = Saved { user_id, name };
    if let Err(error) = publisher.publish(user_id, &saved).await {
        let why = logging::causes(&error);
        log::error!("user {user_id} is not published: {why}");
        let text = "the user could not be published; try again";
        let told = json!({ "error": text, "userId": user_id });
        return Ok(HttpResponse::ServiceUnavailable().json(told));
    }
    Ok(HttpResponse::Ok().json(json!({ "userId": user_id })))
}
