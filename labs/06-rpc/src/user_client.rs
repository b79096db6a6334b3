//! Role `user-client`: serves over HTTP what it asks the user service over a queue.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `RPC_TIMEOUT_MS`, how long a call may take
//! (default 2000); `REPLY_TO`, `queue` (the default) or `direct`.

use std::env;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, ServiceConfig};
use anyhow::{Result, bail};
use common::{http, logging, settings, shutdown};
use serde_json::json;
use tokio::try_join;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::caller::{Caller, NoAnswer};
use crate::line::ReplyTo;

/// How long a call may take when no setting says otherwise.
const DEADLINE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let deadline = settings::millis("RPC_TIMEOUT_MS", DEADLINE)?;
    let caller = Data::new(Caller::new(deadline, reply_to()?));
    let shared = caller.clone();
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(shared.clone())
            .service(web::resource("/users/{id}").route(web::get().to(user)))
            .service(web::resource("/pending").route(web::get().to(pending)));
    };
    // At SIGTERM the calls in progress still need their answers: receive until HTTP has ended.
    let served = CancellationToken::new();
    let serving = async {
        let outcome = http::serve(port, shutdown, configure).await;
        served.cancel();
        outcome
    };
    try_join!(serving, caller.run(&url, &served))?;
    Ok(())
}

fn reply_to() -> Result<ReplyTo> {
    match env::var("REPLY_TO").as_deref() {
        Err(_) | Ok("queue") => Ok(ReplyTo::Queue),
        Ok("direct") => Ok(ReplyTo::Direct),
        Ok(other) => bail!("REPLY_TO is {other:?}; it should be `queue` or `direct`"),
    }
}

/// `GET /users/{id}`.
async fn user(caller: Data<Caller>, id: Path<u32>) -> actix_web::Result<HttpResponse> {
    let id = id.into_inner();
    let (status, text) = match caller.ask(id).await {
        Ok(Answer::Name(name)) => {
            return Ok(HttpResponse::Ok().json(json!({ "id": id, "name": name })));
        }
        Ok(Answer::Error(text)) => (StatusCode::NOT_FOUND, text),
        Err(NoAnswer::TooLate) => {
            let text = "the user service has not answered in time; retry";
            (StatusCode::GATEWAY_TIMEOUT, text.to_owned())
        }
        Err(NoAnswer::Disconnected(error)) => {
            log::error!("user {id}: {}", logging::causes(&error));
            let text = "the user service cannot be reached just now; retry";
            (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        }
        Err(NoAnswer::Garbled(error)) => {
            log::error!("user {id}: the answer cannot be read: {error:#}");
            let text = "the user service's answer cannot be read";
            (StatusCode::BAD_GATEWAY, text.to_owned())
        }
    };
    Err(http::error(status, text))
}

/// `GET /pending`: how many calls are in progress.
async fn pending(caller: Data<Caller>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "pending": caller.pending() }))
}
