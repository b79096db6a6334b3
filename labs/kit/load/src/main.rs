//! The program that the bench measures where no solution does what is asked: it only calls, publishes,
//! consumes, or offers HTTP requests, and prints what came out. It needs nothing of the kit, so that it is
//! soon built for release.

mod http;

use std::future::ready;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};

/// The queue that is published to, then consumed.
const QUEUE: &str = "load";
const REQUESTS: &str = "load.requests";
const REPLIES: &str = "load.replies";

/// How many calls are made before the first measured one.
const WARM_UP: u32 = 200;

/// How many seconds the work may take, if no other time is set.
const LONGEST: f64 = 3600.0;

/// How many messages without confirms may wait to be written.
const UNCONFIRMED: usize = 256;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    work: Work,
}

/// What the program does, and prints at its end.
#[derive(Debug, clap::Subcommand)]
enum Work {
    /// Calls itself over two queues, on two connections, one call at a time: p50 and p99 in µs
    Call {
        #[arg(long)]
        count: u32,
    },
    /// Publishes: messages a second, and how many
    Publish(Publish),
    /// Consumes what is in the queue: messages a second, and how many
    Consume(Consume),
    /// Publishes and consumes at the same time, on two connections: messages a second
    Flow {
        #[arg(long)]
        count: u32,
        /// How many messages a second are published at most
        #[arg(long)]
        rate: Option<u32>,
    },
    /// Offers HTTP requests: p50, p99 and p99.9 in µs, and answers a second
    Http(http::Args),
}

/// When to stop: at a number, or after a time.
#[derive(Debug, Clone, clap::Args)]
struct Until {
    #[arg(long, default_value_t = u32::MAX)]
    count: u32,
    #[arg(long, default_value_t = LONGEST)]
    seconds: f64,
}

impl Until {
    fn over(&self, begun: Instant) -> bool {
        begun.elapsed().as_secs_f64() >= self.seconds
    }
}

#[derive(Debug, Clone, clap::Args)]
struct Publish {
    #[command(flatten)]
    until: Until,
    /// How many confirms may be outstanding; 0 for no confirms at all
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// The size of a body, in bytes
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Messages that a broker may forget when it restarts
    #[arg(long)]
    transient: bool,
    #[arg(long, value_enum, default_value_t = Kind::Classic)]
    queue: Kind,
    /// How many messages a second are published at most
    #[arg(long)]
    rate: Option<u32>,
    /// To an exchange of this type, and not straight to the queue
    #[arg(long, value_parser = ["direct", "topic", "fanout"])]
    exchange: Option<String>,
    /// How many bindings the queue has there; one of them matches
    #[arg(long, default_value_t = 1)]
    bindings: u32,
    /// How many queues are bound
    #[arg(long, default_value_t = 1)]
    queues: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Classic,
    Quorum,
}

#[derive(Debug, Clone, clap::Args)]
struct Consume {
    #[command(flatten)]
    until: Until,
    #[arg(long, default_value_t = 256)]
    prefetch: u16,
    /// How many messages one ack settles; never more than the prefetch
    #[arg(long, default_value_t = 64)]
    ack_every: u16,
}

fn main() -> Result<()> {
    let shown = match Cli::parse().work {
        Work::Http(args) => http::run(args)?,
        work => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start tokio")?
            .block_on(measure(work))?,
    };
    println!("{shown}");
    Ok(())
}

/// The time below which this part of the sorted times lie.
fn percentile(times: &[Duration], part: f64) -> Duration {
    let last = times.len().saturating_sub(1);
    let place = (last as f64 * part) as usize;
    times.get(place).copied().unwrap_or_default()
}

async fn measure(work: Work) -> Result<String> {
    Ok(match work {
        Work::Call { count } => {
            let mut times = call(count).await?;
            times.sort();
            let at = |part| percentile(&times, part).as_secs_f64() * 1e6;
            format!("{:.1} {:.1}", at(0.5), at(0.99))
        }
        Work::Publish(args) => told(publish(&args).await?),
        Work::Consume(args) => told(consume(&args).await?),
        Work::Flow { count, rate } => format!("{:.0}", flow(count, rate).await?),
        Work::Http(_) => unreachable!("HTTP has a runtime of its own"),
    })
}

fn told((count, time): (u32, Duration)) -> String {
    format!("{:.0} {count}", f64::from(count) / time.as_secs_f64())
}

async fn open_channel() -> Result<(Connection, Channel)> {
    let url = std::env::var("AMQP_URL").context("AMQP_URL is not set")?;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn declare(channel: &Channel, queue: &str, kind: Kind) -> Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    if matches!(kind, Kind::Quorum) {
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
    }
    channel
        .queue_declare(queue.into(), options, arguments)
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
    declare(&requests, REQUESTS, Kind::Classic).await?;
    let server = serve(requests.clone(), consumer(&requests, REQUESTS).await?);
    let server = tokio::spawn(server);

    let (_client, channel) = open_channel().await?;
    declare(&channel, REPLIES, Kind::Classic).await?;
    let mut replies = consumer(&channel, REPLIES).await?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + count {
        let id: ShortString = number.to_string().into();
        let properties = BasicProperties::default()
            .with_correlation_id(id.clone())
            .with_reply_to(REPLIES.into());
        let begun = Instant::now();
        send(&channel, &Route::to(REQUESTS), &[b'?'; 64], properties).await?;
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
        send(&channel, &Route::to(to.as_str()), &request.data, properties).await?;
        request.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// Where a message goes.
struct Route {
    exchange: String,
    key: String,
}

impl Route {
    fn to(queue: &str) -> Self {
        Self {
            exchange: String::new(),
            key: queue.to_owned(),
        }
    }
}

/// Declares the exchange and binds the queues to it, and gives the way of which one binding of each matches.
async fn bind(channel: &Channel, kind: &str, args: &Publish) -> Result<Route> {
    let exchange = format!("{QUEUE}.{kind}");
    let of_kind = ExchangeKind::Custom(kind.to_owned());
    let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
    channel
        .exchange_declare(exchange.as_str().into(), of_kind, options, none)
        .await?;
    for number in 0..args.queues {
        let queue = if number == 0 {
            QUEUE.to_owned()
        } else {
            format!("{QUEUE}-{number}")
        };
        declare(channel, &queue, args.queue).await?;
        for binding in 0..args.bindings {
            let key = match kind {
                "topic" => format!("district.{binding}.*"),
                _ => format!("district.{binding}.viewed"),
            };
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            channel
                .queue_bind(
                    queue.as_str().into(),
                    exchange.as_str().into(),
                    key.into(),
                    options,
                    none,
                )
                .await?;
        }
    }
    Ok(Route {
        exchange,
        key: "district.0.viewed".to_owned(),
    })
}

async fn send(
    channel: &Channel,
    route: &Route,
    body: &[u8],
    properties: BasicProperties,
) -> Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions::default();
    let (exchange, key) = (route.exchange.as_str().into(), route.key.as_str().into());
    Ok(channel
        .basic_publish(exchange, key, options, body, properties)
        .await?)
}

/// Publishes, and gives how many messages the broker has taken, and in what time.
async fn publish(args: &Publish) -> Result<(u32, Duration)> {
    let (connection, channel) = open_channel().await?;
    declare(&channel, QUEUE, args.queue).await?;
    let route = match &args.exchange {
        Some(kind) => bind(&channel, kind, args).await?,
        None => Route::to(QUEUE),
    };
    if args.window > 0 {
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await?;
    }
    let body = vec![b'x'; args.size];
    let properties =
        BasicProperties::default().with_delivery_mode(if args.transient { 1 } else { 2 });
    let begun = Instant::now();
    let sent = stream::iter(0..args.until.count)
        .take_while(|_| ready(!args.until.over(begun)))
        .then(async |number| {
            if let Some(rate) = args.rate {
                let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
                // One that is late is published at once.
                tokio::time::sleep_until(due.into()).await;
            }
            number
        })
        .map(async |number| {
            let properties = properties
                .clone()
                .with_message_id(number.to_string().into());
            send(&channel, &route, &body, properties).await?.await?;
            anyhow::Ok(())
        })
        // As chapter 03's producer: lapin writes together what is polled together.
        .buffer_unordered(if args.window > 0 {
            args.window
        } else {
            UNCONFIRMED
        })
        .try_fold(0_u32, async |sent, ()| Ok(sent + 1))
        .await?;
    // The broker answers it after the last message: without confirms, this is all that tells.
    channel.close(200, "done".into()).await?;
    let time = begun.elapsed();
    connection.close(200, "done".into()).await?;
    Ok((sent, time))
}

/// How many messages a second go from a producer to a consumer.
async fn flow(count: u32, rate: Option<u32>) -> Result<f64> {
    let (connection, channel) = open_channel().await?;
    declare(&channel, QUEUE, Kind::Classic).await?;
    connection.close(200, "done".into()).await?;
    let until = Until {
        count,
        seconds: LONGEST,
    };
    let publishes = Publish {
        until: until.clone(),
        window: 256,
        size: 1024,
        transient: false,
        queue: Kind::Classic,
        rate,
        exchange: None,
        bindings: 1,
        queues: 1,
    };
    let consumes = Consume {
        until,
        prefetch: 256,
        ack_every: 64,
    };
    let begun = Instant::now();
    tokio::try_join!(publish(&publishes), consume(&consumes))?;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Consumes until so many are settled, or for so long; gives how many are settled, and when the last one was.
async fn consume(args: &Consume) -> Result<(u32, Duration)> {
    let (connection, channel) = open_channel().await?;
    let options = BasicQosOptions::default();
    channel.basic_qos(args.prefetch, options).await?;
    let deliveries = consumer(&channel, QUEUE).await?;
    let begun = Instant::now();
    let end = tokio::time::sleep(Duration::from_secs_f64(args.until.seconds));
    let every = u32::from(args.ack_every.min(args.prefetch));
    let multiple = every > 1;
    let settled = stream::iter(1..=args.until.count)
        // Whether or not anything comes: a fast consumer has emptied the queue by then.
        .zip(deliveries.take_until(end))
        .map(async |(number, delivery)| {
            let delivery = delivery?;
            if number % every == 0 || number == args.until.count {
                delivery.ack(BasicAckOptions { multiple }).await?;
                return Ok(Some((number, begun.elapsed())));
            }
            anyhow::Ok(None)
        })
        // No ack waits until the one before it is written.
        .buffered(args.prefetch.into())
        .try_fold(None, async |last, settled| Ok(settled.or(last)))
        .await?;
    let (done, time) = settled.context("nothing came that could be settled")?;
    anyhow::ensure!(
        done == args.until.count || args.until.over(begun),
        "no more after {done}"
    );
    // The broker handles the last ack before it answers the close.
    connection.close(200, "done".into()).await?;
    Ok((done, time))
}
