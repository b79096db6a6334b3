//! Role `finance`: books each sale.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker; `DATABASE`, the path of the SQLite file, one for
//! all instances.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Query, ServiceConfig};
use anyhow::Result;
use common::http::{self, Paging};
use common::store::Store;
use common::{settings, shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::try_join;

use crate::consumer::{self, Message, Refusal};
use crate::exchange::SALES;

/// What the books need to know of a sale.
#[derive(Debug, Deserialize)]
struct Sold {
    item: String,
    pence: u32,
}

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, "bookings").await?;
    let bookings = Data::new(store.clone());
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(bookings.clone())
            .service(web::resource("/bookings").route(web::get().to(list)));
    };
    let handle = async |message: Message<'_>| book(&store, message).await;
    try_join!(
        http::serve(port, shutdown.clone(), configure),
        consumer::run(&url, (SALES, "finance"), &shutdown, handle),
    )?;
    Ok(())
}

/// Books a sale under its message's id, so that a redelivery books nothing.
async fn book(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let Sold { item, pence } =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let booking = format!("{pence} pence for {item}");
    let recorded = store.record(&message.id, &booking).await;
    if recorded.map_err(Refusal::NotNow)? {
        log::info!("{booking}");
    }
    Ok(())
}

/// `GET /bookings?skip=&limit=`, in order of arrival.
async fn list(store: Data<Store>, page: Query<Paging>) -> actix_web::Result<HttpResponse> {
    let rows = store.list(page.skip, page.limit).await;
    let bookings: Vec<_> = rows
        .map_err(http::internal)?
        .into_iter()
        .map(|row| json!({ "saleId": row.id, "booking": row.value }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "bookings": bookings })))
}
