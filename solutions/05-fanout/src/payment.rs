//! Role `payment`: collects the money for each sale.
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

/// What the cashier needs to know of a sale.
#[derive(Debug, Deserialize)]
struct Due {
    customer: String,
    pence: u32,
}

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let (port, url) = (settings::port()?, settings::amqp_url()?);
    let store = Store::open(&settings::database()?, "payments").await?;
    let payments = Data::new(store.clone());
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(payments.clone())
            .service(web::resource("/payments").route(web::get().to(list)));
    };
    let handle = async |message: Message<'_>| collect(&store, message).await;
    try_join!(
        http::serve(port, shutdown.clone(), configure),
        consumer::run(&url, (SALES, "payment"), &shutdown, handle),
    )?;
    Ok(())
}

/// Collects the money under the message's id, so that a redelivery collects nothing.
async fn collect(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    let Due { customer, pence } =
        serde_json::from_slice(message.body).map_err(|e| Refusal::Broken(e.into()))?;
    let payment = format!("{pence} pence from {customer}");
    let recorded = store.record(&message.id, &payment).await;
    if recorded.map_err(Refusal::NotNow)? {
        log::info!("{payment}");
    }
    Ok(())
}

/// `GET /payments?skip=&limit=`, in order of arrival.
async fn list(store: Data<Store>, page: Query<Paging>) -> actix_web::Result<HttpResponse> {
    let rows = store.list(page.skip, page.limit).await;
    let payments: Vec<_> = rows
        .map_err(http::internal)?
        .into_iter()
        .map(|row| json!({ "saleId": row.id, "payment": row.value }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "payments": payments })))
}
