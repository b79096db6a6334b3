//! Role `user-service`: knows the users' names, and answers requests over the queue.
//!
//! Settings: `AMQP_URL`, the broker.

use std::collections::HashMap;

use anyhow::{Context, Result};
use common::{settings, shutdown};
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, Consumer};
use messaging::Published;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::queue::{self, RPC_QUEUE};
use crate::request::Request;

/// How many requests the broker may hand over ahead of our acks. Few: a caller waits for each
/// of them, and another server may be idle.
const PREFETCH: u16 = 4;

/// The users, by id.
type Users = HashMap<u32, String>;

/// Answers until SIGTERM.
pub async fn run() -> Result<()> {
    let shutdown = shutdown::on_signal()?;
    let url = settings::amqp_url()?;
    let users: Users = serde_json::from_str(include_str!("users.json"))?;
    messaging::keep(&url, &shutdown, async |connection| {
        serve(connection, &users, &shutdown).await
    })
    .await
}

/// Answers one request after the other. `shutdown` is checked between two of them: a delivered
/// request is always answered.
async fn serve(connection: &Connection, users: &Users, shutdown: &CancellationToken) -> Result<()> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut requests = subscribe(&channel).await?;
    log::info!("ready");
    while let Some(next) = shutdown.run_until_cancelled(requests.next()).await {
        let delivery = next.context("the broker ended the subscription")??;
        handle(&channel, users, &delivery).await?;
    }
    Ok(())
}

/// Asks the broker for requests, to be acked one by one.
async fn subscribe(channel: &Channel) -> Result<Consumer> {
    queue::declare(channel).await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let requests = channel.basic_consume(
        RPC_QUEUE.into(),
        "".into(), // the broker makes up a consumer tag
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    Ok(requests.await?)
}

/// Answers a request. One that cannot be read is rejected for good: it would be no better
/// when it is redelivered.
async fn handle(channel: &Channel, users: &Users, delivery: &Delivery) -> Result<()> {
    // HOLE 7: answer a request that can be read; log any other, and reject it for good.
    // Naive: every request can be answered.
    let request = Request::read(delivery)?;
    respond(channel, users, delivery, &request).await
    // END HOLE 7
}

/// Looks the user up, and sends the answer.
async fn respond(
    channel: &Channel,
    users: &Users,
    delivery: &Delivery,
    request: &Request,
) -> Result<()> {
    let id = request.id;
    let answer = match users.get(&id) {
        Some(name) => Answer::Name(name.clone()),
        None => Answer::Error(format!("there is no user {id}")),
    };
    let body = serde_json::to_vec(&answer).context("cannot write JSON")?;
    match reply(channel, delivery, request, &body).await? {
        // The caller has gone, and its queue with it. The request is done all the same.
        Published::Returned if !request.is_direct() => {
            log::warn!("user {id}: `{}` is gone", request.reply_to)
        }
        _ => log::info!("user {id}: {answer:?}"),
    }
    Ok(())
}

/// Publishes the answer to the caller's queue, then acks the request.
async fn reply(
    channel: &Channel,
    delivery: &Delivery,
    request: &Request,
    body: &[u8],
) -> Result<Published> {
    let queue = request.reply_to.clone();
    let properties = BasicProperties::default().with_content_type("application/json".into());
    // HOLE 3: publish it under the request's correlation id; then ack the request.
    todo!("HOLE 3: publish the answer to the caller's queue, and ack the request")
    // END HOLE 3
}
