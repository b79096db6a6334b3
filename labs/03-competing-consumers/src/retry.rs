//! What becomes of a job that failed: another try, and after a few of them a place where
//! somebody will look.

use anyhow::{Error, Result};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::{AMQPValue, FieldTable};
use messaging::Outlet;

use crate::{publish, queue};

/// How often a job is tried.
const TRIES: i64 = 3;

/// The header that counts the tries so far. A queue counts nothing of the kind: `redelivered`
/// says *at least once before*.
const TRIED: &str = "tried";

/// The header that says why the last try failed.
const REASON: &str = "reason";

/// Puts a job that failed for this `reason` back at the end of its queue, or, at its last
/// try, into the queue for dead ones. Then settles the delivery.
pub async fn again_or_give_up(outlet: &Outlet, delivery: &Delivery, reason: &Error) -> Result<()> {
    // HOLE 4: publish it once more with the headers, to one queue or the other, then ack.
    // Naive: the broker hands it out again at once, and again, and again.
    let options = lapin::options::BasicRejectOptions { requeue: true };
    delivery.reject(options).await?;
    Ok(())
    // END HOLE 4
}

/// How often it was tried before this delivery, as its header says.
fn tried(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(TRIED)) {
        Some(AMQPValue::LongLongInt(tried)) => *tried,
        // Absent, or written by somebody who counts in another way.
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
