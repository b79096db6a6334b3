//! The other rows.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_lite::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation, ExchangeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::vhost::{TestVhost, code, declare, next, publish};

/// How long to wait for a reply: far longer than it takes.
const REPLY: Duration = Duration::from_secs(1);

pub async fn global_prefetch(test: TestVhost) -> Result<String> {
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

pub async fn mandatory_direct_reply(test: TestVhost) -> Result<String> {
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

pub async fn large_message(test: TestVhost) -> Result<String> {
    let (_connection, channel) = test.channel().await?;
    declare(&channel, "films", &[]).await?;
    match publish(&channel, "films", &vec![0; 17 << 20]).await {
        Ok(()) => Ok("taken".into()),
        Err(error) if code(&error) == Some(406) => Ok("406".into()),
        Err(error) => Err(error.into()),
    }
}

pub async fn three_hashes(test: TestVhost) -> Result<String> {
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

pub async fn local_random(test: TestVhost) -> Result<String> {
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

pub async fn mirrored_queues(test: TestVhost) -> Result<String> {
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

pub async fn amqp_1_0(test: TestVhost) -> Result<String> {
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

pub async fn small_frames(test: TestVhost) -> Result<String> {
    let url = test.broker.address.url(test.vhost);
    let usual = broker::connect(&url, "usual").await;
    usual.context("with frames as usual")?;
    match broker::connect(&format!("{url}?frame_max=4096"), "small").await {
        Ok(_) => Ok("connects".into()),
        Err(_) => Ok("is refused".into()),
    }
}
