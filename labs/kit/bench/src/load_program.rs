//! The program that `bench relay` measures: it only calls, publishes or consumes. It is this same
//! program, built for release, under a hidden argument.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use std::collections::VecDeque;

use super::percentile;

/// The queue that is published to, then consumed.
const QUEUE: &str = "load";
const REQUESTS: &str = "load.requests";
const REPLIES: &str = "load.replies";

/// How many confirms, or acks, are outstanding at most.
const IN_FLIGHT: u16 = 256;
/// How many messages one ack settles.
const BATCH: u64 = 64;
/// The size of a body, in bytes.
const BODY: usize = 1024;
/// How many calls are made before the first measured one.
const WARM_UP: u32 = 200;

#[derive(Debug, clap::Args)]
pub struct Args {
    work: Work,
    #[arg(long)]
    count: u32,
    /// How many messages a second `flow` publishes at most
    #[arg(long)]
    rate: Option<u32>,
}

/// What the program does.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Work {
    /// Calls itself over two queues, on two connections, one call at a time
    Call,
    /// Publishes persistent messages to a durable queue, with 256 confirms in flight
    Publish,
    /// Consumes them, with a prefetch of 256 and an ack for 64
    Consume,
    /// Publishes and consumes at the same time, on two connections
    Flow,
}

/// Does the work and prints what was measured: for calls p50 and p99 in microseconds, else
/// messages a second.
pub fn run(args: &Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?;
    runtime.block_on(async {
        match args.work {
            Work::Call => {
                let mut times = call(args.count).await?;
                times.sort();
                let at = |part| percentile(&times, part).as_secs_f64() * 1e6;
                println!("{:.1} {:.1}", at(50), at(99));
            }
            Work::Publish => println!("{:.0}", publish(args.count, None).await?),
            Work::Consume => println!("{:.0}", consume(args.count).await?),
            Work::Flow => println!("{:.0}", flow(args.count, args.rate).await?),
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn open_channel() -> Result<(Connection, Channel)> {
    let url = std::env::var("AMQP_URL").context("AMQP_URL is not set")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn declare(channel: &Channel, queue: &str, durable: bool) -> Result<()> {
    let options = QueueDeclareOptions {
        durable,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await?;
    Ok(())
}

async fn consumer(channel: &Channel, queue: &str) -> Result<Consumer> {
    let options = BasicConsumeOptions::default();
    Ok(channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?)
}

async fn call(count: u32) -> Result<Vec<Duration>> {
    let (_server, requests) = open_channel().await?;
    declare(&requests, REQUESTS, true).await?;
    let server = serve(requests.clone(), consumer(&requests, REQUESTS).await?);
    let server = tokio::spawn(server);

    let (_client, channel) = open_channel().await?;
    declare(&channel, REPLIES, true).await?;
    let mut replies = consumer(&channel, REPLIES).await?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + count {
        let id: ShortString = number.to_string().into();
        let properties = BasicProperties::default()
            .with_correlation_id(id.clone())
            .with_reply_to(REPLIES.into());
        let begun = Instant::now();
        send(&channel, REQUESTS, &[b'?'; 64], properties).await?;
        let reply = replies.next().await.context("no reply")??;
        times.push(begun.elapsed());
        anyhow::ensure!(
            *reply.properties.correlation_id() == Some(id),
            "another reply"
        );
        reply.ack(BasicAckOptions::default()).await?;
    }
    server.abort();
    Ok(times.split_off(WARM_UP as usize))
}

/// Answers each request with its own body.
async fn serve(channel: Channel, mut requests: Consumer) -> Result<()> {
    while let Some(request) = requests.next().await {
        let request = request?;
        let to = request
            .properties
            .reply_to()
            .clone()
            .context("no reply_to")?;
        let id = request
            .properties
            .correlation_id()
            .clone()
            .context("no id")?;
        let properties = BasicProperties::default().with_correlation_id(id);
        send(&channel, to.as_str(), &request.data, properties).await?;
        request.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

async fn send(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions::default();
    Ok(channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await?)
}

async fn publish(count: u32, rate: Option<u32>) -> Result<f64> {
    let (connection, channel) = open_channel().await?;
    declare(&channel, QUEUE, true).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let body = vec![b'x'; BODY];
    let mut confirms = VecDeque::new();
    let begun = Instant::now();
    for number in 0..count {
        if let Some(rate) = rate {
            let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            // One that is late is published at once.
            tokio::time::sleep_until(due.into()).await;
        }
        if confirms.len() == usize::from(IN_FLIGHT) {
            let first: Option<lapin::PublisherConfirm> = confirms.pop_front();
            first.context("no confirm")?.await?;
        }
        let properties = BasicProperties::default()
            .with_message_id(number.to_string().into())
            .with_delivery_mode(2);
        confirms.push_back(send(&channel, QUEUE, &body, properties).await?);
    }
    for confirm in confirms {
        confirm.await?;
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    connection.close(200, "done".into()).await?;
    Ok(rate)
}

/// How many messages a second go from a producer to a consumer.
async fn flow(count: u32, rate: Option<u32>) -> Result<f64> {
    let (connection, channel) = open_channel().await?;
    declare(&channel, QUEUE, true).await?;
    connection.close(200, "done".into()).await?;
    let begun = Instant::now();
    let producer = tokio::spawn(publish(count, rate));
    consume(count).await?;
    producer.await??;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

async fn consume(count: u32) -> Result<f64> {
    let (connection, channel) = open_channel().await?;
    channel
        .basic_qos(IN_FLIGHT, BasicQosOptions::default())
        .await?;
    let begun = Instant::now();
    let mut deliveries = consumer(&channel, QUEUE).await?;
    for number in 1..=u64::from(count) {
        let delivery = deliveries.next().await.context("no more")??;
        if number % BATCH == 0 || number == u64::from(count) {
            delivery.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    // The broker handles the last ack before it answers the close.
    connection.close(200, "done".into()).await?;
    Ok(rate)
}
