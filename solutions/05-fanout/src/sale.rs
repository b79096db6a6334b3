//! The event on exchange `sales`.

use serde::Serialize;
use uuid::Uuid;

/// Something was sold. Each service that hears of it reads the fields that it needs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sale {
    /// The message's id, too.
    pub sale_id: Uuid,
    /// What was sold.
    pub item: String,
    /// For how much, at least 1.
    pub pence: u32,
    /// Who pays.
    pub customer: String,
}
