//! Role `shop`: takes orders and publishes that something was sold.
//!
//! Settings: `PORT`; `AMQP_URL`, the broker.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, ServiceConfig};
use anyhow::Result;
use common::{http, logging, settings, shutdown};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::exchange::SALES;
use crate::publisher::Publisher;
use crate::sale::Sale;

/// The services that must get each sale: one books it, one collects the money.
const AUDIENCE: &[&str] = &["finance", "payment"];

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    /// Given by a client that retries; otherwise the shop makes one.
    sale_id: Option<Uuid>,
    item: String,
    pence: u32,
    customer: String,
}

impl Order {
    /// The sale that it becomes, under `sale_id`.
    fn sale(self, sale_id: Uuid) -> Sale {
        Sale {
            sale_id,
            item: self.item,
            pence: self.pence,
            customer: self.customer,
        }
    }
}

const EXPECTED: &str = r#"{"item": "lamp", "pence": 1250, "customer": "Ada"}"#;

/// Serves until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let port = settings::port()?;
    let publisher = Data::new(Publisher::new(settings::amqp_url()?, SALES, AUDIENCE));
    let configure = move |app: &mut ServiceConfig| {
        app.app_data(publisher.clone())
            .app_data(http::json_body(EXPECTED))
            .service(web::resource("/sales").route(web::post().to(sell)));
    };
    http::serve(port, shutdown, configure).await
}

/// `POST /sales`. A 200 is a promise: the whole audience will get this sale.
async fn sell(publisher: Data<Publisher>, order: Json<Order>) -> actix_web::Result<HttpResponse> {
    let order = order.into_inner();
    if order.item.trim().is_empty() || order.customer.trim().is_empty() || order.pence == 0 {
        let text = format!("a field is empty or 0; expected JSON like {EXPECTED}");
        return Err(http::error(StatusCode::BAD_REQUEST, text));
    }
    // HOLE 7: one id however often it is ordered; 200 only after the confirm.
    let id = order.sale_id.unwrap_or_else(Uuid::new_v4);
    if let Err(error) = publisher.publish(id, &order.sale(id)).await {
        log::error!("sale {id} is not published: {}", logging::causes(&error));
        let text = format!("the sale is not confirmed; retry with \"saleId\": \"{id}\"");
        return Err(http::error(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    Ok(HttpResponse::Ok().json(json!({ "saleId": id })))
    // END HOLE 7
}
