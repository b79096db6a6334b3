//! What becomes of a failed job: another try, and after the last one the queue for dead jobs.

use anyhow::{Error, Result, ensure};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, FieldTable};
use messaging::{Outlet, Published, publish};

use crate::queue;

/// How often a job is tried.
const TRIES: i64 = 3;

/// The header that counts the failed tries. The broker doesn't count them: `redelivered` only
/// says *at least once before*.
const TRIED: &str = "tried";

/// The header that says why the last try failed.
const REASON: &str = "reason";

/// Publishes a job that failed for this `reason` again: to the end of its queue, or after the
/// last try to the queue for dead jobs. Then acks the delivery.
pub async fn again_or_give_up(outlet: &Outlet, delivery: &Delivery, reason: &Error) -> Result<()> {
    // HOLE 4: count this try in a header; after the last one the job goes to the dead jobs.
    let tried = tried(delivery) + 1;
    let next = if tried < TRIES {
        queue::MESSAGES
    } else {
        queue::DEAD
    };
    let properties = delivery.properties.clone();
    let properties = properties.with_headers(headers(tried, reason));
    // END HOLE 4
    // On disk, even if its producer sent it transient.
    let properties = properties.with_delivery_mode(2);
    let channel = outlet.channel().await?;
    // HOLE 5: publish it; when a queue has it, ack this one delivery.
    let published = publish(&channel, "", next, &delivery.data, properties).await?;
    ensure!(published == Published::Routed, "no queue `{next}`");
    delivery.ack(BasicAckOptions::default()).await?;
    // END HOLE 5
    log::warn!("try {tried} of {TRIES} failed, now in `{next}`: {reason:#}");
    Ok(())
}

/// How often it failed before this delivery, as its header says.
fn tried(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(TRIED)) {
        Some(AMQPValue::LongLongInt(tried)) => *tried,
        // No header, or not one of ours.
        _ => 0,
    }
}

fn headers(tried: i64, reason: &Error) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(TRIED.into(), AMQPValue::LongLongInt(tried));
    let reason = format!("{reason:#}");
    headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    headers
}
