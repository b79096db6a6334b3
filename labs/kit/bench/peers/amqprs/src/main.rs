//! The peer in Rust, with amqprs: publish COUNT WINDOW SIZE | consume COUNT PREFETCH ACK_EVERY | call COUNT.
//! It prints messages a second, or p50 and p99 of a call in microseconds.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const QUEUE: &str = "load";
const WARM_UP: usize = 200;

/// Gives a place in the window back for each message that is confirmed.
struct Confirms {
    room: Arc<Semaphore>,
    confirmed: u64,
}

#[async_trait]
impl ChannelCallback for Confirms {
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let upto = match ack.mutiple() {
            true => ack.delivery_tag(),
            false => self.confirmed + 1,
        };
        self.room.add_permits(usize::try_from(upto - self.confirmed).expect("a count"));
        self.confirmed = upto;
    }
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        panic!("the broker says no");
    }
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> std::result::Result<(), amqprs::error::Error> {
        panic!("the broker closes the channel");
    }
    async fn cancel(&mut self, _: &Channel, _: Cancel) -> std::result::Result<(), amqprs::error::Error> {
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> std::result::Result<bool, amqprs::error::Error> {
        Ok(active)
    }
    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

async fn open() -> Result<(Connection, Channel)> {
    let url = std::env::var("AMQP_URL")?;
    let connection = Connection::open(&OpenConnectionArguments::try_from(url.as_str())?).await?;
    let channel = connection.open_channel(None).await?;
    Ok((connection, channel))
}

async fn declare(channel: &Channel, queue: &str) -> Result<()> {
    let arguments = QueueDeclareArguments::new(queue).durable(true).finish();
    channel.queue_declare(arguments).await?;
    Ok(())
}

async fn publish(count: usize, window: usize, size: usize) -> Result<String> {
    let (connection, channel) = open().await?;
    declare(&channel, QUEUE).await?;
    let room = Arc::new(Semaphore::new(window));
    let confirms = Confirms { room: room.clone(), confirmed: 0 };
    channel.register_callback(confirms).await?;
    channel.confirm_select(ConfirmSelectArguments::default()).await?;
    let begun = Instant::now();
    for number in 0..count {
        room.acquire().await?.forget();
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(&number.to_string())
            .finish();
        let to = BasicPublishArguments::new("", QUEUE);
        channel.basic_publish(properties, vec![b'x'; size], to).await?;
    }
    // All places are free again when all is confirmed.
    room.acquire_many(u32::try_from(window)?).await?.forget();
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(format!("{rate:.0}"))
}

async fn subscribe(channel: &Channel, queue: &str) -> Result<UnboundedReceiver<ConsumerMessage>> {
    let arguments = BasicConsumeArguments::new(queue, "").manual_ack(true).finish();
    Ok(channel.basic_consume_rx(arguments).await?.1)
}

async fn ack(channel: &Channel, message: &ConsumerMessage, multiple: bool) -> Result<()> {
    let tag = message.deliver.as_ref().ok_or("no delivery")?.delivery_tag();
    channel.basic_ack(BasicAckArguments::new(tag, multiple)).await?;
    Ok(())
}

async fn consume(count: usize, prefetch: usize, every: usize) -> Result<String> {
    let (connection, channel) = open().await?;
    let prefetch = BasicQosArguments::new(0, u16::try_from(prefetch)?, false);
    channel.basic_qos(prefetch).await?;
    let begun = Instant::now();
    let mut messages = subscribe(&channel, QUEUE).await?;
    for done in 1..=count {
        let message = messages.recv().await.ok_or("no more")?;
        if done % every == 0 || done == count {
            ack(&channel, &message, every > 1).await?;
        }
    }
    // The broker handles the last ack before it answers the close.
    channel.close().await?;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(format!("{rate:.0}"))
}

async fn serve(channel: Channel, mut requests: UnboundedReceiver<ConsumerMessage>) -> Result<()> {
    while let Some(request) = requests.recv().await {
        let properties = request.basic_properties.as_ref().ok_or("no properties")?;
        let to = BasicPublishArguments::new("", properties.reply_to().ok_or("no reply-to")?);
        let id = properties.correlation_id().ok_or("no id")?;
        let reply = BasicProperties::default().with_correlation_id(id).finish();
        let body = request.content.clone().unwrap_or_default();
        channel.basic_publish(reply, body, to).await?;
        ack(&channel, &request, false).await?;
    }
    Ok(())
}

async fn call(count: usize) -> Result<String> {
    let (_server, requests) = open().await?;
    declare(&requests, "load.requests").await?;
    let arriving = subscribe(&requests, "load.requests").await?;
    let server = tokio::spawn(serve(requests, arriving));
    let (_client, channel) = open().await?;
    declare(&channel, "load.replies").await?;
    let mut replies = subscribe(&channel, "load.replies").await?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + count {
        let id = number.to_string();
        let properties = BasicProperties::default()
            .with_correlation_id(&id)
            .with_reply_to("load.replies")
            .finish();
        let begun = Instant::now();
        let to = BasicPublishArguments::new("", "load.requests");
        channel.basic_publish(properties, vec![b'?'; 64], to).await?;
        let reply = replies.recv().await.ok_or("no reply")?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        let got = reply.basic_properties.as_ref().and_then(BasicProperties::correlation_id);
        if got != Some(&id) {
            return Err("another reply".into());
        }
        ack(&channel, &reply, false).await?;
    }
    server.abort();
    let mut times = times.split_off(WARM_UP);
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    Ok(format!("{:.1} {:.1}", at(0.5), at(0.99)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (work, figures) = words.split_first().ok_or("a command line is needed")?;
    let figures: Vec<usize> = figures.iter().map(|word| word.parse()).collect::<std::result::Result<_, _>>()?;
    let told = match (work.as_str(), figures.as_slice()) {
        ("publish", &[count, window, size]) => publish(count, window, size).await?,
        ("consume", &[count, prefetch, every]) => consume(count, prefetch, every).await?,
        ("call", &[count]) => call(count).await?,
        _ => return Err("publish, consume or call, with figures".into()),
    };
    println!("{told}");
    Ok(())
}
