//! The wiretap between lapin and a real broker.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker::Broker;
use course::paths::Paths;
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use serde_json::json;
use wiretap::{ConnectionEvent, Event, Frame, Journal, Method, Side, Wiretap};

use proof::{Scratch, json_lines, soon, until};

const ROLE: &str = "history";
const QUEUE: &str = "viewed";

/// A vhost of the lab's broker, and a wiretap before it.
struct Fixture {
    broker: Broker,
    vhost: String,
    tap: Wiretap,
    journal: Journal,
    // Declared last: the journal writes there.
    _scratch: Scratch,
}

impl Fixture {
    async fn open(name: &str) -> Result<Self> {
        let broker = Broker::acquire(&Paths::find()?, &|_| ()).await?;
        let vhost = format!("lab.{}.wiretap-{name}", std::process::id());
        broker.create_vhost(&vhost).await?;
        let scratch = Scratch::new(name);
        let journal = Journal::create(scratch.path(), "02", name, 1734)?;
        let address = &broker.address;
        let tap = Wiretap::open(ROLE, &address.host, address.port, &journal)?;
        Ok(Self {
            broker,
            vhost,
            tap,
            journal,
            _scratch: scratch,
        })
    }

    /// A channel in confirm mode, through the wiretap.
    async fn channel(&self) -> Result<(Connection, Channel)> {
        let address = self.broker.address.at("127.0.0.1", self.tap.port());
        let url = address.url(&self.vhost);
        let connection = soon("lapin connects", broker::connect(&url, ROLE)).await??;
        let channel = connection.create_channel().await?;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await?;
        Ok((connection, channel))
    }

    async fn ready(&self) -> Result<u64> {
        let queue = self.broker.queue(&self.vhost, QUEUE).await?;
        Ok(queue.context("no queue")?.ready)
    }

    fn methods(&self, method: Method) -> Vec<Frame> {
        self.journal.methods(ROLE, method)
    }

    async fn close(self) -> Result<()> {
        self.broker.delete_vhost(&self.vhost).await
    }
}

async fn declare(channel: &Channel) -> Result<()> {
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-dead-letter-exchange".into(),
        AMQPValue::LongString("dead".into()),
    );
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1_000_000));
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    Ok(())
}

fn persistent(id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.into())
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
}

async fn publish(channel: &Channel, queue: &str, id: &str, body: &[u8]) -> Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let sent = channel
        .basic_publish("".into(), queue.into(), options, body, persistent(id))
        .await?;
    Ok(soon("the confirm", sent).await??)
}

async fn consume(channel: &Channel) -> Result<Consumer> {
    Ok(channel
        .basic_consume(
            QUEUE.into(),
            "me".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?)
}

pub async fn everything_is_journaled() -> Result<()> {
    let fixture = Fixture::open("all").await?;
    let (connection, channel) = fixture.channel().await?;
    channel.basic_qos(2, BasicQosOptions::default()).await?;
    declare(&channel).await?;
    let lost = publish(&channel, "nowhere", "lost", b"{}").await?;
    ensure!(matches!(lost, Confirmation::Ack(Some(_))), "{lost:?}");
    publish(&channel, QUEUE, "one", br#"{"a": 1}"#).await?;
    publish(&channel, QUEUE, "two", b"").await?;

    let mut consumer = consume(&channel).await?;
    let one = soon("one", consumer.next())
        .await?
        .context("no delivery")??;
    one.nack(BasicNackOptions {
        requeue: true,
        ..Default::default()
    })
    .await?;
    let mut tags = Vec::new();
    for _ in 0..2 {
        let delivery = soon("more", consumer.next())
            .await?
            .context("no delivery")??;
        tags.push(delivery.delivery_tag);
    }
    let last = tags.iter().copied().max().context("no tags")?;
    channel
        .basic_ack(last, BasicAckOptions { multiple: true })
        .await?;
    publish(&channel, QUEUE, "three", b"bad").await?;
    let three = soon("three", consumer.next())
        .await?
        .context("no delivery")??;
    three.reject(BasicRejectOptions { requeue: false }).await?;
    connection.close(200, "done".into()).await?;
    // "closed" or "lost: … reset": who lets go first after close-ok is a matter of chance.
    until("the connection is gone", || {
        fixture.journal.disconnected(ROLE)
    })
    .await?;

    in_order(&fixture)?;
    told_in_full(&fixture)?;
    settled(&fixture, last)?;
    written(&fixture)?;
    fixture.close().await
}

fn in_order(fixture: &Fixture) -> Result<()> {
    let frames = fixture.journal.frames(|_| true);
    let mut seen = frames.iter().map(|frame| (frame.from, frame.method));
    let (client, server) = (Side::Client, Side::Server);
    for wanted in [
        (server, Method::ConnectionStart),
        (client, Method::ConnectionStartOk),
        (server, Method::ConnectionTune),
        (client, Method::ConnectionOpen),
        (client, Method::ChannelOpen),
        (server, Method::ChannelOpenOk),
        (client, Method::ConfirmSelect),
        (server, Method::ConfirmSelectOk),
        (client, Method::BasicQos),
        (server, Method::BasicQosOk),
        (client, Method::QueueDeclare),
        (server, Method::QueueDeclareOk),
        (client, Method::BasicPublish),
        (server, Method::BasicReturn),
        (server, Method::BasicAck),
        (client, Method::BasicPublish),
        (server, Method::BasicAck),
        (client, Method::BasicPublish),
        (server, Method::BasicAck),
        (client, Method::BasicConsume),
        (server, Method::BasicConsumeOk),
        (server, Method::BasicDeliver),
        (client, Method::BasicNack),
        (server, Method::BasicDeliver),
        (client, Method::BasicAck),
        (client, Method::BasicPublish),
        (client, Method::BasicReject),
        (client, Method::ConnectionClose),
        (server, Method::ConnectionCloseOk),
    ] {
        ensure!(
            seen.any(|frame| frame == wanted),
            "no {wanted:?} at its place in {frames:#?}"
        );
    }
    ensure!(frames.iter().all(|frame| frame.connection == 1));
    Ok(())
}

fn told_in_full(fixture: &Fixture) -> Result<()> {
    let declared = &fixture.methods(Method::QueueDeclare)[0].args;
    ensure!(
        *declared
            == json!({"queue": "viewed", "passive": false, "durable": true, "exclusive": false,
                "auto_delete": false,
                "arguments": {"x-dead-letter-exchange": "dead", "x-max-length": 1_000_000}}),
        "{declared}"
    );
    let returned = &fixture.methods(Method::BasicReturn)[0];
    ensure!(returned.message_id() == Some("lost"), "{returned:?}");
    ensure!(returned.args["reply_code"] == 312, "{returned:?}");
    let published = fixture.methods(Method::BasicPublish);
    let ids: Vec<_> = published.iter().map(Frame::message_id).collect();
    ensure!(ids == [Some("lost"), Some("one"), Some("two"), Some("three")]);
    let one = &published[1];
    ensure!(one.channel == 1 && one.flag("mandatory") && one.args["routing_key"] == "viewed");
    let message = one.message.as_ref().context("no message")?;
    ensure!(message.persistent && message.size == 8 && message.body == r#"{"a": 1}"#);
    ensure!(message.content_type.as_deref() == Some("application/json"));
    let confirms = fixture.methods(Method::BasicAck);
    let confirmed: Vec<_> = confirms
        .iter()
        .filter(|frame| frame.from == Side::Server)
        .map(Frame::tag)
        .collect();
    ensure!(
        confirmed == [Some(1), Some(2), Some(3), Some(4)],
        "{confirmed:?}"
    );
    Ok(())
}

fn settled(fixture: &Fixture, last: u64) -> Result<()> {
    let journal = &fixture.journal;
    ensure!(journal.prefetch(ROLE) == Some(2));
    ensure!(journal.deliveries(ROLE, "one") == 2);
    ensure!(journal.deliveries(ROLE, "lost") == 0);
    let redelivered = fixture.methods(Method::BasicDeliver);
    ensure!(!redelivered[0].flag("redelivered"));
    ensure!(
        redelivered
            .iter()
            .any(|f| f.flag("redelivered") && f.message_id() == Some("one"))
    );
    // Both at once, by `multiple`.
    for id in ["one", "two"] {
        let ack = journal.settlement(ROLE, id).context("not settled")?;
        ensure!(ack.tag() == Some(last) && ack.flag("multiple"), "{ack:?}");
        ensure!(journal.acked(ROLE, id) && !journal.rejected(ROLE, id));
    }
    ensure!(journal.rejected(ROLE, "three") && !journal.acked(ROLE, "three"));
    Ok(())
}

fn written(fixture: &Fixture) -> Result<()> {
    let text = std::fs::read_to_string(fixture.journal.path())?;
    for secret in [&fixture.broker.address.password, "PLAIN"] {
        ensure!(!text.contains(secret), "credentials in the journal");
    }
    let lines = json_lines(fixture.journal.path())?;
    ensure!(
        lines[0] == json!({"journal": 2, "chapter": "02", "check": "all", "seed": 1734}),
        "{}",
        lines[0]
    );
    let mut before = 0.0;
    for line in &lines[1..] {
        let t = line["t"].as_f64().context("no time")?;
        ensure!(t >= before, "{t} after {before}");
        before = t;
        let event = line["event"].as_str().context("no event")?;
        ensure!(matches!(event, "amqp" | "connection"), "{event}");
    }
    ensure!(lines.len() == 1 + fixture.journal.read(<[_]>::len));
    let deliver = lines
        .iter()
        .find(|line| line["method"] == Method::BasicDeliver.name());
    let deliver = deliver.context("no deliver in the file")?;
    ensure!(deliver["from"] == "server" && deliver["message"]["id"] == "one");
    Ok(())
}

pub async fn lost_publish() -> Result<()> {
    let fixture = Fixture::open("publish").await?;
    let (_connection, channel) = fixture.channel().await?;
    declare(&channel).await?;
    publish(&channel, QUEUE, "one", b"1").await?;
    fixture.tap.cut_before(Side::Client, Method::BasicPublish);
    let lost = publish(&channel, QUEUE, "two", &[b'2'; 300_000]).await;
    ensure!(lost.is_err(), "{lost:?}");
    ensure!(fixture.tap.sprung());
    ensure!(fixture.ready().await? == 1, "the broker has it");
    // The wire works again, and what is sent now arrives.
    let (connection, channel) = fixture.channel().await?;
    publish(&channel, QUEUE, "three", b"3").await?;
    ensure!(fixture.ready().await? == 2);
    ensure!(
        fixture
            .methods(Method::BasicPublish)
            .last()
            .map(|f| f.connection)
            == Some(2)
    );
    connection.close(200, "done".into()).await?;
    fixture.close().await
}

pub async fn lost_confirm() -> Result<()> {
    let fixture = Fixture::open("confirm").await?;
    let (_connection, channel) = fixture.channel().await?;
    declare(&channel).await?;
    fixture.tap.cut_before(Side::Server, Method::BasicAck);
    let lost = publish(&channel, QUEUE, "one", b"1").await;
    ensure!(lost.is_err(), "{lost:?}");
    ensure!(fixture.tap.sprung());
    ensure!(fixture.ready().await? == 1, "the broker does not have it");
    let told = fixture.journal.read(|entries| {
        entries.iter().any(|entry| {
            let cut = ConnectionEvent::CutBefore(Method::BasicAck);
            matches!(&entry.event, Event::Connection { what, .. } if *what == cut)
        })
    });
    ensure!(told, "the journal does not tell of the cut");
    fixture.close().await
}

pub async fn large_message() -> Result<()> {
    let fixture = Fixture::open("large").await?;
    let (connection, channel) = fixture.channel().await?;
    declare(&channel).await?;
    // Not a power of two, and a body in which every byte tells its place.
    let body: Vec<u8> = (0..5_000_001_u32).map(|at| (at % 251) as u8).collect();
    publish(&channel, QUEUE, "large", &body).await?;
    let mut consumer = consume(&channel).await?;
    let came = soon("the delivery", consumer.next())
        .await?
        .context("none")??;
    ensure!(came.data == body, "the body changed on its way");
    came.ack(BasicAckOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    for method in [Method::BasicPublish, Method::BasicDeliver] {
        let frames = fixture.methods(method);
        let [frame] = frames.as_slice() else {
            anyhow::bail!("{} of {method}", frames.len());
        };
        let message = frame.message.as_ref().context("no message")?;
        ensure!(message.size == 5_000_001);
        ensure!(
            message.body.len() < 1000,
            "the journal keeps the whole body"
        );
    }
    fixture.close().await
}

/// Thousands of frames in few reads: the relay must not make a fast client slow.
pub async fn many_messages() -> Result<()> {
    const MANY: usize = 4000;
    let fixture = Fixture::open("many").await?;
    let (connection, channel) = fixture.channel().await?;
    declare(&channel).await?;
    let mut confirms = Vec::new();
    for number in 0..MANY {
        let id = persistent(&format!("m{number}"));
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), QUEUE.into(), options, b"x", id);
        confirms.push(sent.await?);
    }
    for confirm in confirms {
        soon("a confirm", confirm).await??;
    }
    let mut consumer = consume(&channel).await?;
    let count = Cell::new(0);
    let all = async {
        while count.get() < MANY {
            let delivery = consumer.next().await.context("the end")??;
            let id = delivery.properties.message_id();
            let id = id.as_ref().map(|id| id.as_str().to_owned());
            ensure!(id == Some(format!("m{}", count.get())), "{id:?}");
            count.set(count.get() + 1);
        }
        Ok(())
    };
    let took = tokio::time::timeout(Duration::from_secs(10), all).await;
    took.with_context(|| format!("{} of {MANY} came", count.get()))??;
    ensure!(fixture.methods(Method::BasicDeliver).len() == MANY);
    connection.close(200, "done".into()).await?;
    fixture.close().await
}
