//! The event on exchange `sales`.

use serde::Serialize;
use uuid::Uuid;

/// Something was sold. Each service reads the fields that it needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sale {
    /// Also the id of the message.
    pub sale_id: Uuid,
    /// What was sold.
    pub item: String,
    /// The price, at least 1.
    pub pence: u32,
    /// The customer who pays.
    pub customer: String,
}
