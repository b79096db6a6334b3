//! Compares the table "What differs between 3.10, 4.0 and 4.3" of `labs/kit/broker/README.md` with the
//! current broker.
//!
//! A test tries each row. What it sees, in the table's own words, must be the cell in the column of the
//! broker's series. A row without a test fails, and so does a test without a row. `.ci/run` runs this
//! on all three series.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use broker::{self, Broker};
use course::paths::Paths;
use futures_lite::StreamExt;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind,
    ExchangeKind,
};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADING: &str = "## What differs between 3.10, 4.0 and 4.3";

/// More than the default delivery limit of 20: a message redelivered this often has no limit.
const OFTEN: usize = 30;

/// How long a row may take: far longer than it does, so that a busy machine fails none.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait for a reply: far longer than it takes.
const REPLY: Duration = Duration::from_secs(1);

/// How long a queue with delayed retry keeps a requeued message back.
const DELAY: Duration = Duration::from_secs(2);

/// The page that has the table.
const PAGE: &str = "labs/kit/broker/README.md";

/// The table in that page: the series of its columns, and its rows.
struct Table {
    series: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read() -> Result<Self> {
        let page = fs::read_to_string(Paths::find()?.root.join(PAGE))?;
        let section = page.split_once(HEADING);
        let (_, section) = section.with_context(|| format!("{PAGE} has no `{HEADING}`"))?;
        let cells = |line: &str| -> Vec<String> {
            let line = line.trim_matches('|');
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let lines = section.lines().skip_while(|line| !line.starts_with('|'));
        let mut lines = lines.take_while(|line| line.starts_with('|')).map(cells);
        let mut series = lines.next().context("the table has no heading")?;
        series.remove(0);
        let rows = lines.skip(1).collect();
        Ok(Self { series, rows })
    }

    /// The cell of `row` for the broker's series; `None` if the series has no column.
    fn cell(&self, row: &str, version: &str) -> Result<Option<&str>> {
        let row = self.rows.iter().find(|cells| cells[0] == row);
        let row = row.with_context(|| format!("{PAGE}'s table has no such row"))?;
        let is_it = |series: &String| version.starts_with(&format!("RabbitMQ {series}."));
        let Some(column) = self.series.iter().position(is_it) else {
            return Ok(None);
        };
        Ok(row.get(column + 1).map(String::as_str))
    }
}

fn main() {
    broker::dispatch();
    let rows = vec![
        row(
            "`basic.qos` 5 with `global`, two consumers of one channel",
            global_prefetch,
        ),
        row(
            "a mandatory reply to `amq.rabbitmq.reply-to`",
            mandatory_direct_reply,
        ),
        row(
            "quorum queue: `basic.reject` with requeue",
            rejected_again_and_again,
        ),
        row(
            "quorum queue: the consumer dies before its ack",
            died_again_and_again,
        ),
        row(
            "quorum queue: `basic.nack` with requeue",
            nacked_again_and_again,
        ),
        row("quorum queue: where a requeued message is put", place),
        row(
            "quorum queue with `x-delayed-retry-type`: nacked",
            delayed_retry,
        ),
        row("a message of 17 MiB", large_message),
        row(
            "a topic exchange: a binding key with three `#`",
            three_hashes,
        ),
        row("an exchange of type `x-local-random`", local_random),
        row(
            "a policy with `ha-mode`, mirrored classic queues",
            mirrored_queues,
        ),
        row("AMQP 1.0 without a plugin", amqp_1_0),
        row("a client that wants frames of 4,096 bytes", small_frames),
    ];
    let tried: BTreeSet<_> = rows.iter().map(|row| row.name().to_owned()).collect();
    let complete = Trial::test("each row of the table is tried", move || {
        let table = Table::read().map_err(|error| format!("{error:#}"))?;
        let written: BTreeSet<_> = table.rows.iter().map(|cells| cells[0].clone()).collect();
        if written == tried {
            return Ok(());
        }
        let odd: Vec<_> = written.symmetric_difference(&tried).collect();
        Err(Failed::from(format!(
            "only in {PAGE} or only here: {odd:#?}"
        )))
    });
    let trials = rows.into_iter().chain([complete]).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    let stop = async { broker::down(&paths()).await };
    actix_web::rt::System::new().block_on(stop).unwrap();
    conclusion.exit();
}

/// A separate folder, because a node of the clone may be of another series.
fn paths() -> Paths {
    let mut paths = Paths::find().unwrap();
    paths.target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("differs");
    paths
}

/// A row by its first cell, and its test, which returns what it saw in the table's words.
fn row<F>(what: &'static str, try_it: fn(TestVhost) -> F) -> Trial
where
    F: Future<Output = Result<String>> + 'static,
{
    let held = async move || {
        let test = TestVhost::new(what).await?;
        let broker = test.broker.clone();
        let seen = tokio::time::timeout(PATIENCE, try_it(test))
            .await
            .with_context(|| format!("not tried within {PATIENCE:?}"))??;
        broker.delete_vhost(what).await?;
        let table = Table::read()?;
        match table.cell(what, &broker.version)? {
            Some(cell) => ensure!(
                cell == seen,
                "{PAGE} says `{cell}`, {} does `{seen}`",
                broker.version
            ),
            None => println!("{} has no column; it does: {seen}", broker.version),
        }
        Ok::<(), anyhow::Error>(())
    };
    Trial::test(what, move || {
        let outcome = actix_web::rt::System::new().block_on(held());
        outcome.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// A vhost for one row.
struct TestVhost {
    broker: Broker,
    vhost: &'static str,
}

impl TestVhost {
    async fn new(vhost: &'static str) -> Result<Self> {
        let broker = Broker::acquire(&paths(), &|line| println!("{line}")).await?;
        broker.delete_vhost(vhost).await?;
        broker.create_vhost(vhost).await?;
        Ok(Self { broker, vhost })
    }

    /// A channel in confirm mode, on a new connection.
    async fn channel(&self) -> Result<(Connection, Channel)> {
        let url = self.broker.address.url(self.vhost);
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok((connection, channel))
    }
}

async fn declare(channel: &Channel, queue: &str, arguments: &[(&str, &str)]) -> Result<()> {
    let mut table = FieldTable::default();
    for (key, text) in arguments {
        let value = match text.parse() {
            Ok(number) => AMQPValue::LongInt(number),
            Err(_) => AMQPValue::LongString((*text).into()),
        };
        table.insert((*key).into(), value);
    }
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.into(), durable, table).await?;
    Ok(())
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<(), lapin::Error> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    match sent.await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => panic!("not taken by `{queue}`: {other:?}"),
    }
}

async fn get(channel: &Channel, queue: &str) -> Result<Option<BasicGetMessage>> {
    let options = BasicGetOptions::default();
    Ok(channel.basic_get(queue.into(), options).await?)
}

/// Waits for the next message of `queue`.
async fn next(channel: &Channel, queue: &str) -> Result<BasicGetMessage> {
    loop {
        if let Some(message) = get(channel, queue).await? {
            return Ok(message);
        }
    }
}

/// The broker's reply code, if the error is an answer of the broker.
fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

async fn global_prefetch(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "jobs", &[]).await?;
    for _ in 0..20 {
        publish(&channel, "jobs", b"job").await?;
    }
    let global = BasicQosOptions { global: true };
    channel.basic_qos(5, global).await?;
    let consume = async |tag: &str| {
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        channel
            .basic_consume("jobs".into(), tag.into(), options, table)
            .await
    };
    let _both = (consume("ada").await?, consume("grace").await?);
    // The queue answers after it has delivered all that the prefetch allows.
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel.queue_declare("jobs".into(), passive, FieldTable::default());
    match queue.await?.message_count() {
        15 => Ok("5 unacked in all".into()),
        10 => Ok("5 unacked each".into()),
        left => bail!("{left} of 20 jobs are still in the queue"),
    }
}

async fn mandatory_direct_reply(test: TestVhost) -> Result<String> {
    let (asking, client) = test.channel().await?;
    let (_answering, server) = test.channel().await?;
    declare(&client, "rpc_queue", &[]).await?;
    let direct = ShortString::from("amq.rabbitmq.reply-to");
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut replies = client
        .basic_consume(direct.clone(), "".into(), no_ack, FieldTable::default())
        .await?;
    let properties = BasicProperties::default().with_reply_to(direct);
    let options = BasicPublishOptions::default();
    let request = client.basic_publish("".into(), "rpc_queue".into(), options, b"?", properties);
    request.await?.await?;
    let request = next(&server, "rpc_queue").await?.delivery;
    let reply_to = request.properties.reply_to().clone();
    let reply_to = reply_to.context("the request has no reply_to")?;
    let returned = async || {
        let (to, properties) = (reply_to.clone(), BasicProperties::default());
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let reply = server.basic_publish("".into(), to, mandatory, b"!", properties);
        match reply.await?.await? {
            Confirmation::Ack(returned) => Ok(returned.is_some()),
            other => bail!("the broker did not take the reply: {other:?}"),
        }
    };
    // RabbitMQ 4.0.5, just started on an idle machine, never delivers the first reply
    // (10 of 10 runs, 2026-11-25).
    let although_it_arrives = loop {
        let returned = returned().await?;
        if let Ok(reply) = tokio::time::timeout(REPLY, replies.next()).await {
            reply.context("the replies end")??;
            break returned;
        }
    };
    asking.close(200, "the caller has gone".into()).await?;
    match (although_it_arrives, returned().await?) {
        (true, true) => Ok("returned, even if it arrives".into()),
        (false, false) => Ok("never returned".into()),
        (arrives, gone) => bail!("returned: {arrives}; returned after the caller went: {gone}"),
    }
}

/// How a consumer fails to work on a message.
#[derive(Clone, Copy)]
enum Failure {
    Reject,
    Nack,
    Death,
}

async fn rejected_again_and_again(test: TestVhost) -> Result<String> {
    again_and_again(&test, Failure::Reject).await
}

async fn died_again_and_again(test: TestVhost) -> Result<String> {
    again_and_again(&test, Failure::Death).await
}

async fn nacked_again_and_again(test: TestVhost) -> Result<String> {
    again_and_again(&test, Failure::Nack).await
}

async fn again_and_again(test: &TestVhost, failure: Failure) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "dead", &[]).await?;
    let arguments = [
        ("x-queue-type", "quorum"),
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", "dead"),
    ];
    declare(&channel, "jobs", &arguments).await?;
    publish(&channel, "jobs", b"job").await?;
    for deliveries in 0..OFTEN {
        let (connection, consumer) = test.channel().await?;
        let delivery = loop {
            if get(&channel, "dead").await?.is_some() {
                return Ok(format!("dead-lettered after {deliveries} deliveries"));
            }
            if let Some(job) = get(&consumer, "jobs").await? {
                break job.delivery;
            }
        };
        match failure {
            Failure::Reject => {
                let options = BasicRejectOptions { requeue: true };
                delivery.reject(options).await?;
            }
            Failure::Nack => {
                let options = BasicNackOptions {
                    requeue: true,
                    multiple: false,
                };
                delivery.nack(options).await?;
            }
            Failure::Death => {}
        }
        connection.close(200, "the end".into()).await?;
    }
    Ok("no limit".into())
}

async fn place(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "jobs", &[("x-queue-type", "quorum")]).await?;
    for job in [b"1", b"2", b"3"] {
        publish(&channel, "jobs", job).await?;
    }
    let first = next(&channel, "jobs").await?;
    let requeue = BasicNackOptions {
        requeue: true,
        multiple: false,
    };
    first.delivery.nack(requeue).await?;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.extend(next(&channel, "jobs").await?.delivery.data);
    }
    match order.as_slice() {
        b"123" => Ok("where it was".into()),
        b"231" => Ok("at the end".into()),
        other => bail!("the order is now {:?}", String::from_utf8_lossy(other)),
    }
}

async fn delayed_retry(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    let delay = DELAY.as_millis().to_string();
    let arguments = [
        ("x-queue-type", "quorum"),
        ("x-delayed-retry-type", "all"),
        ("x-delayed-retry-min", delay.as_str()),
    ];
    declare(&channel, "jobs", &arguments).await?;
    publish(&channel, "jobs", b"job").await?;
    let job = next(&channel, "jobs").await?.delivery;
    let start = Instant::now();
    let requeue = BasicNackOptions {
        requeue: true,
        multiple: false,
    };
    job.nack(requeue).await?;
    next(&channel, "jobs").await?;
    let at_once = start.elapsed() < DELAY;
    let seen = if at_once {
        "redelivered at once"
    } else {
        "redelivered after the delay"
    };
    Ok(seen.into())
}

async fn large_message(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "films", &[]).await?;
    match publish(&channel, "films", &vec![0; 17 << 20]).await {
        Ok(()) => Ok("taken".into()),
        Err(error) if code(&error) == Some(406) => Ok("406".into()),
        Err(error) => Err(error.into()),
    }
}

async fn three_hashes(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "q", &[]).await?;
    let table = FieldTable::default();
    let bound = channel
        .queue_bind(
            "q".into(),
            "amq.topic".into(),
            "#.a.#.b.#".into(),
            QueueBindOptions::default(),
            table,
        )
        .await;
    match bound {
        Ok(()) => Ok("bound".into()),
        Err(error) if code(&error) == Some(406) => Ok("406".into()),
        Err(error) => Err(error.into()),
    }
}

async fn local_random(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    let kind = ExchangeKind::Custom("x-local-random".into());
    let (options, table) = (ExchangeDeclareOptions::default(), FieldTable::default());
    let declared = channel
        .exchange_declare("e".into(), kind, options, table)
        .await;
    match declared {
        Ok(()) => Ok("declared".into()),
        Err(error) if code(&error) == Some(503) => Ok("503".into()),
        Err(error) => Err(error.into()),
    }
}

async fn mirrored_queues(test: TestVhost) -> Result<String> {
    let definitions = serde_json::json!({ "policies": [{
        "vhost": test.vhost, "name": "ha", "pattern": "^mirrored", "apply-to": "queues",
        "definition": { "ha-mode": "all" }, "priority": 0,
    }]});
    match test.broker.import(test.vhost, &definitions).await {
        Ok(()) => Ok("accepted".into()),
        Err(error) if format!("{error:#}").contains("not recognised") => Ok("refused".into()),
        Err(error) => Err(error),
    }
}

async fn amqp_1_0(test: TestVhost) -> Result<String> {
    let address = &test.broker.address;
    let mut stream = TcpStream::connect((&*address.host, address.port)).await?;
    // The header of AMQP 1.0 with a login. The broker answers with a header that it supports.
    let asked = *b"AMQP\x03\x01\x00\x00";
    stream.write_all(&asked).await?;
    let mut answered = [0; 8];
    stream.read_exact(&mut answered).await?;
    match &answered {
        b"AMQP\x00\x00\x09\x01" => Ok("no".into()),
        answer if *answer == asked => Ok("yes".into()),
        other => bail!("the broker answers {other:?}"),
    }
}

async fn small_frames(test: TestVhost) -> Result<String> {
    let url = test.broker.address.url(test.vhost);
    let connect =
        async |url: String| Connection::connect(&url, ConnectionProperties::default()).await;
    connect(url.clone()).await.context("with frames as usual")?;
    match connect(format!("{url}?frame_max=4096")).await {
        Ok(_) => Ok("connects".into()),
        Err(_) => Ok("is refused".into()),
    }
}
