//! The common parts of an HTTP service: listening, `GET /health`, lists, errors as JSON.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use actix_web::web::{self, JsonConfig, Query, QueryConfig, ServiceConfig};
use actix_web::{App, Error, HttpResponse, HttpServer, error};
use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::store::{Row, Store};
use crate::{logging, settings};

/// The largest JSON body that a service takes, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// How many seconds an answer under way may still take after `shutdown`.
const SHUTDOWN_SECONDS: u64 = 2;

/// What adds a program's own routes. The lock makes it `Sync`.
type Configure = Arc<Mutex<dyn Fn(&mut ServiceConfig) + Send>>;

/// Serves on `port` of 127.0.0.1, or of the address that [`settings::bind`] returns, until
/// `shutdown`: the routes that `configure` adds, and `GET /health`, which answers 200.
///
/// # Errors
/// When `BIND` is wrong, or the port is taken or not allowed; the error names the port.
pub async fn serve(
    port: u16,
    shutdown: CancellationToken,
    configure: impl Fn(&mut ServiceConfig) + Send + 'static,
) -> Result<()> {
    serve_configured(port, shutdown, Arc::new(Mutex::new(configure))).await
}

/// [`serve`] without a type parameter, in a box: so actix's server is compiled here, once, and not
/// again for each `configure` of each program.
fn serve_configured(
    port: u16,
    shutdown: CancellationToken,
    configure: Configure,
) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    let app = move || {
        App::new()
            .app_data(query_errors())
            .route("/health", web::get().to(HttpResponse::Ok))
            .configure(|app| configure.lock().unwrap_or_else(PoisonError::into_inner)(app))
    };
    Box::pin(async move {
        let address = SocketAddr::new(settings::bind()?, port);
        let server = HttpServer::new(app)
            .workers(1) // one thread serves thousands, and its log stays in order
            .shutdown_signal(shutdown.cancelled_owned())
            .shutdown_timeout(SHUTDOWN_SECONDS)
            .bind(address)
            .map_err(|cause| cannot_listen(address, cause))?
            .run();
        log::info!("listening on http://{address}");
        server.await.context("the HTTP server failed")
    })
}

/// Why nothing can listen on `address`, and what to set instead.
pub fn cannot_listen(address: SocketAddr, cause: io::Error) -> anyhow::Error {
    let (ip, port) = (address.ip(), address.port());
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow!("port {port} is taken by another program; stop that one, or set another PORT")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("this user may not listen on port {port}; set a PORT from 1024 up")
        }
        io::ErrorKind::AddrNotAvailable => {
            anyhow!("this machine does not have the address {ip}; set another BIND")
        }
        _ => anyhow!("cannot listen on {address}: {cause}"),
    }
}

/// Like [`serve`]; its one route is `GET /<name>?skip=&limit=`, which lists the rows of `store` in
/// order of arrival, as `{"<name>": […]}` with each row as `show` writes it.
///
/// # Errors
/// As [`serve`].
pub async fn serve_rows(
    port: u16,
    shutdown: CancellationToken,
    name: &'static str,
    store: &Store,
    show: fn(Row) -> Value,
) -> Result<()> {
    let store = store.clone();
    let list = move |page: Query<Paging>| {
        let store = store.clone();
        async move {
            let rows = store.list(page.skip, page.limit).await.map_err(internal)?;
            let shown: Vec<_> = rows.into_iter().map(show).collect();
            Ok::<_, Error>(HttpResponse::Ok().json(json!({ name: shown })))
        }
    };
    let path = format!("/{name}");
    serve(port, shutdown, move |app| {
        app.service(web::resource(&path).route(web::get().to(list.clone())));
    })
    .await
}

/// An error answered as `{"error": "<text>"}`.
pub fn error(status: StatusCode, text: impl Display) -> Error {
    let body = HttpResponse::build(status).json(json!({ "error": text.to_string() }));
    error::InternalError::from_response(text.to_string(), body).into()
}

/// A failure of this service: the log gets every cause, the client a 500 without our paths.
pub fn internal(cause: anyhow::Error) -> Error {
    log::error!("{}", logging::causes(&cause));
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this service failed; its log says more",
    )
}

/// How `web::Json<T>` reads a body: at most [`MAX_BODY`] bytes, and every error answered as
/// JSON that says what was `expected`. Pass it to `app_data`.
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

/// Which part of a list a client wants: `?skip=` (default 0) and `&limit=` (1 to 1000, default
/// 100). Take it as `web::Query<Paging>`; a value out of range is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawPaging")]
pub struct Paging {
    /// How many rows to leave out at the beginning.
    pub skip: u32,
    /// How many rows to return at most.
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

/// How `web::Query<T>` answers an error: as JSON with an example. Pass it to `app_data`.
pub fn query_errors() -> QueryConfig {
    QueryConfig::default().error_handler(|problem, _| {
        let text = format!("{problem}; expected something like ?skip=0&limit=100");
        error(StatusCode::BAD_REQUEST, text)
    })
}

#[cfg(test)]
mod tests;
