//! The plain parts of an HTTP service: listening, `GET /health`, paging, errors as JSON.

use std::fmt::Display;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, JsonConfig, QueryConfig, ServiceConfig};
use actix_web::{App, Error, HttpResponse, HttpServer, error};
use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{logging, settings};

/// The largest JSON body that a service takes, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// How many seconds an answer under way may still take once we are told to stop.
const SHUTDOWN_SECONDS: u64 = 2;

/// How long `drain` may take. Docker kills a container 10 seconds after SIGTERM.
const DRAIN: Duration = Duration::from_secs(7);

/// Serves on `port` of 127.0.0.1, or of the address [`settings::bind`] gives, until
/// `shutdown`: what `configure` sets up, and `GET /health`, which answers 200. `configure` is
/// run once on the thread that serves, so what it creates need not be `Send`.
///
/// # Errors
/// When `BIND` is wrong, or the port is taken or may not be used; the error names it.
pub async fn serve<F>(port: u16, shutdown: CancellationToken, configure: F) -> Result<()>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    serve_and_drain(port, shutdown, configure, ready(())).await
}

/// Like [`serve`]; but between the last connection taken and the end it waits for `drain`, at
/// most 7 seconds: for tasks that a handler started and that outlive their request. Actix
/// drops such tasks when it stops, so they must be waited for before.
///
/// # Errors
/// When `BIND` is wrong, or the port is taken or may not be used; the error names it.
pub async fn serve_and_drain<F>(
    port: u16,
    shutdown: CancellationToken,
    configure: F,
    drain: impl Future<Output = ()>,
) -> Result<()>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let address = SocketAddr::new(settings::bind()?, port);
    let app = move || {
        App::new()
            .app_data(query_errors())
            .route("/health", web::get().to(HttpResponse::Ok))
            .configure(configure.clone())
    };
    let server = HttpServer::new(app)
        .workers(1) // one thread serves thousands, and its log is read in order
        .disable_signals() // `shutdown` listens for them
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .bind(address)
        .map_err(|cause| cannot_listen(address, cause))?
        .run();
    log::info!("listening on http://{address}");
    let handle = server.handle();
    let stop = async {
        shutdown.cancelled().await;
        handle.pause().await; // take no new connection
        if timeout(DRAIN, drain).await.is_err() {
            log::warn!("work was still in hand after {DRAIN:?}; it is lost");
        }
        handle.stop(true).await; // finish the answers under way
    };
    tokio::pin!(server);
    tokio::select! {
        outcome = &mut server => outcome.context("the HTTP server failed"),
        () = stop => server.await.context("the HTTP server failed"),
    }
}

fn cannot_listen(address: SocketAddr, cause: io::Error) -> anyhow::Error {
    let port = address.port();
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("port {port} is taken by another program; stop that one, or give another PORT")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("port {port} may not be used by this user; give a PORT from 1024 up")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!(
                "this machine does not have the address {}; give another BIND",
                address.ip()
            )
        }
        _ => anyhow!("cannot listen on {address}: {cause}"),
    }
}

/// An error answered as `{"error": "<text>"}`.
pub fn error(status: StatusCode, text: impl Display) -> Error {
    let body = HttpResponse::build(status).json(json!({ "error": text.to_string() }));
    error::InternalError::from_response(text.to_string(), body).into()
}

/// Our own failure: the log gets the whole story, the client a 500 without our paths in it.
pub fn internal(cause: anyhow::Error) -> Error {
    log::error!("{}", logging::causes(&cause));
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this service failed; its log says more",
    )
}

/// How `web::Json<T>` takes a body: at most [`MAX_BODY`] bytes, and every error answered as
/// JSON that says what was `expected`. Give it to `ServiceConfig::app_data`.
pub fn json_body(expected: &'static str) -> JsonConfig {
    use actix_web::error::JsonPayloadError as Problem;
    JsonConfig::default()
        .limit(MAX_BODY)
        .error_handler(move |problem, _| {
            let (status, what) = match &problem {
                Problem::Overflow { .. } | Problem::OverflowKnownLength { .. } => (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body is larger than {MAX_BODY} bytes"),
                ),
                Problem::ContentType => (
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "the Content-Type is not application/json".to_owned(),
                ),
                Problem::Deserialize(cause) => (StatusCode::BAD_REQUEST, cause.to_string()),
                other => (StatusCode::BAD_REQUEST, other.to_string()),
            };
            error(status, format!("{what}; expected JSON like {expected}"))
        })
}

/// Which part of a list is wanted: `?skip=` (default 0) and `&limit=` (1 to 1000, default
/// 100). Take it as `web::Query<Paging>`; what is out of range is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPaging")]
pub struct Paging {
    /// How many rows are left out at the beginning.
    pub skip: u32,
    /// How many rows come at most.
    pub limit: u32,
}

#[derive(Deserialize)]
struct RawPaging {
    #[serde(default)]
    skip: u32,
    limit: Option<u32>,
}

impl TryFrom<RawPaging> for Paging {
    type Error = &'static str;

    fn try_from(raw: RawPaging) -> Result<Self, Self::Error> {
        let limit = raw.limit.unwrap_or(100);
        if !(1..=1000).contains(&limit) {
            return Err("limit must be from 1 to 1000");
        }
        Ok(Self {
            skip: raw.skip,
            limit,
        })
    }
}

fn query_errors() -> QueryConfig {
    QueryConfig::default().error_handler(|problem, _| {
        let text = format!("{problem}; expected something like ?skip=0&limit=100");
        error(StatusCode::BAD_REQUEST, text)
    })
}

#[cfg(test)]
mod tests;
