//! All that a browser reaches: the page, its stream of updates, a message's life, and the buttons.
//!
//! It listens on loopback only. Every request must carry the token of the printed address, and name
//! this server as its host; a press of a button that another page caused is refused. So neither another
//! page of the same browser nor another user of the machine can press one.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Payload, Server};
use actix_web::error::ErrorForbidden;
use actix_web::http::header::{self, ContentType};
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, FromRequest, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context, Result};
use futures_lite::stream;
use rand::distr::{Alphanumeric, SampleString};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, oneshot};

use crate::{Action, Ask};

/// The first port that is tried.
const PORT: u16 = 4100;
/// The most bytes of what a button sends.
const MOST: usize = 100_000;

/// Where the page is, and who may open it.
pub struct Listening {
    listener: TcpListener,
    port: u16,
    /// What the printed address ends with.
    pub token: String,
}

/// What the handlers share.
struct Shared {
    page: String,
    port: u16,
    token: String,
    asks: mpsc::Sender<Ask>,
    updates: broadcast::Sender<Arc<str>>,
}

impl Listening {
    /// Takes a loopback port, and makes a token.
    ///
    /// # Errors
    /// When no port is free.
    pub fn open() -> Result<Self> {
        let mut ports = PORT..=u16::MAX;
        let listener = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        let listener = listener.with_context(|| format!("no port from {PORT} up is free"))?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            listener,
            token: Alphanumeric.sample_string(&mut rand::rng(), 24),
        })
    }

    /// The address to open.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/?token={}", self.port, self.token)
    }

    /// Serves `page`, until the returned server is dropped or stopped.
    ///
    /// # Errors
    /// When the server cannot be started.
    pub fn serve(
        self,
        page: String,
        asks: mpsc::Sender<Ask>,
        updates: broadcast::Sender<Arc<str>>,
    ) -> Result<Server> {
        let shared = Data::new(Shared {
            page,
            port: self.port,
            token: self.token,
            asks,
            updates,
        });
        let app = move || {
            App::new()
                .app_data(shared.clone())
                .app_data(web::PayloadConfig::new(MOST))
                .route("/", web::get().to(page_itself))
                .route("/events", web::get().to(events))
                .route("/life", web::get().to(life))
                .route("/do", web::post().to(press))
        };
        let server = HttpServer::new(app).workers(1).disable_signals();
        // A stream of updates has no end, and nobody waits for it.
        let server = server.shutdown_timeout(0).listen(self.listener)?;
        Ok(server.run())
    }
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    token: String,
    #[serde(default)]
    id: String,
}

/// A request that comes from this server's own page.
struct FromOwnPage {
    shared: Data<Shared>,
    query: Query,
}

impl FromRequest for FromOwnPage {
    type Error = actix_web::Error;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let shared = request.app_data::<Data<Shared>>().cloned();
        let query = web::Query::<Query>::from_query(request.query_string()).ok();
        let own = shared.zip(query).map(|(shared, query)| Self {
            shared,
            query: query.into_inner(),
        });
        let why = "refused: this is not the board's own page; \
            open the address that `just board` printed";
        let own = own.filter(|own| own.shared.knows(request, &own.query.token));
        ready(own.ok_or_else(|| ErrorForbidden(why)))
    }
}

impl Shared {
    /// Whether a request names this server as its host, has the token, and was not caused by another
    /// page.
    fn knows(&self, request: &HttpRequest, token: &str) -> bool {
        let header = |name| request.headers().get(name)?.to_str().ok();
        let hosts = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{}", self.port));
        // A page of another name that leads to this address would send that name.
        let Some(host) = header(header::HOST).filter(|host| hosts.iter().any(|own| own == host))
        else {
            return false;
        };
        let own_page = format!("http://{host}");
        token == self.token && header(header::ORIGIN).is_none_or(|origin| origin == own_page)
    }

    /// Asks the task that owns the services; `None` when the board is about to end.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.asks.send(ask(sender)).await.ok()?;
        answer.await.ok()
    }
}

async fn page_itself(own: FromOwnPage) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        // No other page may show this one in a frame, and have its buttons clicked there.
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"))
        .body(own.shared.page.clone())
}

async fn events(own: FromOwnPage) -> HttpResponse {
    let shared = own.shared;
    // Subscribed first: nothing is missed between the whole and the first update.
    let updates = shared.updates.subscribe();
    let stream = stream::unfold(
        (shared, updates, Some(0)),
        |(shared, mut updates, whole)| async move {
            let (text, updates) = match whole {
                Some(skipped) => (
                    shared.ask(|answer| Ask::Whole(skipped, answer)).await?,
                    updates,
                ),
                None => match updates.recv().await {
                    Ok(update) => (update.to_string(), updates),
                    Err(RecvError::Lagged(skipped)) => {
                        updates = updates.resubscribe();
                        (
                            shared.ask(|answer| Ask::Whole(skipped, answer)).await?,
                            updates,
                        )
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            let data = Bytes::from(format!("data: {text}\n\n"));
            Some((Ok::<_, Infallible>(data), (shared, updates, None)))
        },
    );
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(stream))
}

async fn life(own: FromOwnPage) -> HttpResponse {
    let FromOwnPage { shared, query } = own;
    match shared
        .ask(|answer| Ask::Life(query.id, answer))
        .await
        .flatten()
    {
        Some(rows) => HttpResponse::Ok()
            .content_type(ContentType::json())
            .body(rows),
        None => plain(
            HttpResponse::NotFound(),
            "nothing is kept of this message: only the last rows are".to_owned(),
        ),
    }
}

async fn press(own: FromOwnPage, body: Bytes) -> HttpResponse {
    let shared = own.shared;
    let action: Action = match serde_json::from_slice(&body) {
        Ok(action) => action,
        Err(error) => {
            return plain(
                HttpResponse::BadRequest(),
                format!("no such action: {error}"),
            );
        }
    };
    match shared.ask(|answer| Ask::Do(action, answer)).await {
        Some(Ok(said)) => plain(HttpResponse::Ok(), said),
        Some(Err(why)) => plain(HttpResponse::Conflict(), why),
        None => plain(
            HttpResponse::ServiceUnavailable(),
            "the board ends".to_owned(),
        ),
    }
}

fn plain(mut response: actix_web::HttpResponseBuilder, text: String) -> HttpResponse {
    response.content_type(ContentType::plaintext()).body(text)
}
