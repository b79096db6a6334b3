//! A client that does with messages what no service of solution 02 does.

use anyhow::{Context, Result, ensure};
use broker::Broker;
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use proof::{PATIENCE, soon};
use tokio::time::{Instant, sleep};

const QUEUE: &str = "script";

/// Publishes into a queue of its own and consumes from it, on two channels of two connections. Sends
/// `history` a message that it cannot read.
pub async fn run(url: &str, broker: &Broker, vhost: &str) -> Result<()> {
    let (publishing, out) = channel(url).await?;
    out.confirm_select(ConfirmSelectOptions::default()).await?;
    declare(&out).await?;
    publish(&out, "viewed", b"this is not JSON").await?;
    // In many frames, in one, and in none.
    for size in [300_000, 1, 0] {
        publish(&out, QUEUE, &vec![b'x'; size]).await?;
    }
    let returned = publish(&out, "no-such-queue", b"returned").await?;
    ensure!(returned.take_message().is_some(), "no basic.return");
    consume(url).await?;

    broker.refuse_publishes(vhost, QUEUE).await?;
    let since = Instant::now();
    while !publish(&out, QUEUE, b"refused").await?.is_nack() {
        ensure!(since.elapsed() < PATIENCE, "the broker does not nack");
        sleep(PATIENCE / 200).await;
    }
    publishing.close(200, "done".into()).await?;
    Ok(())
}

/// Gets one message; of those that it consumes, it acks, nacks and rejects.
async fn consume(url: &str) -> Result<()> {
    let (connection, channel) = channel(url).await?;
    let got = channel.basic_get(QUEUE.into(), BasicGetOptions::default());
    let got = got.await?.context("the queue is empty")?;
    ensure!(got.delivery.data.len() == 300_000);
    got.delivery.nack(requeue()).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel
        .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
        .await?;
    let mut next = async || {
        soon("a delivery", deliveries.next())
            .await?
            .context("no more")?
            .context("?")
    };
    let [_, second, third] = [next().await?, next().await?, next().await?];
    let multiple = BasicAckOptions { multiple: true };
    second.ack(multiple).await?;
    third.nack(requeue()).await?;
    let again = next().await?;
    ensure!(again.redelivered, "not redelivered");
    again.reject(BasicRejectOptions { requeue: true }).await?;
    next()
        .await?
        .reject(BasicRejectOptions { requeue: false })
        .await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

fn requeue() -> BasicNackOptions {
    BasicNackOptions {
        requeue: true,
        ..Default::default()
    }
}

async fn channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = soon("lapin connects", broker::connect(url, "script")).await??;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn declare(channel: &Channel) -> Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let declaring = channel.queue_declare(QUEUE.into(), options, FieldTable::default());
    declaring.await?;
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let properties = BasicProperties::default().with_message_id("script".into());
    let sent = channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await?;
    Ok(soon("the confirm", sent).await??)
}
