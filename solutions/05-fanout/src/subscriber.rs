//! What all four consuming services do: they consume from a queue of their own, and list over
//! HTTP what they have recorded.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file, one for
//! all instances of a service.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Query, ServiceConfig};
use anyhow::Result;
use common::http::{self, Paging};
use common::store::Store;
use common::{settings, shutdown};
use serde_json::{Value, json};
use tokio::try_join;

use crate::consumer::{self, Message, Refusal};

/// Hands each message of `exchange` to `handle`, which records it in `table`. Answers
/// `GET /<name>?skip=&limit=` with `{"<name>": […]}`, the page that `list` reads from there.
/// Both until SIGTERM.
pub async fn run<Handle, List>(
    (exchange, service): (&str, &str),
    (table, handle): (&'static str, Handle),
    (name, list): (&'static str, List),
) -> Result<()>
where
    Handle: AsyncFn(&Store, Message<'_>) -> Result<(), Refusal>,
    List: AsyncFn(&Store, &Paging) -> Result<Vec<Value>> + Copy + Send + 'static,
{
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, table).await?;
    let answer = move |store: Data<Store>, page: Query<Paging>| async move {
        let page = list(&store, &page).await.map_err(http::internal)?;
        Ok::<_, actix_web::Error>(HttpResponse::Ok().json(json!({ name: page })))
    };
    let shared = Data::new(store.clone());
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(shared.clone())
            .service(web::resource(format!("/{name}")).route(web::get().to(answer)));
    };
    let handle = async |message: Message<'_>| handle(&store, message).await;
    try_join!(
        http::serve(port, shutdown.clone(), configure),
        consumer::run(&url, (exchange, service), &shutdown, handle),
    )?;
    Ok(())
}
