//! A relay between a client and its wiretap that can say what a broker says only under stress.

use std::net::Ipv4Addr;
use std::rc::Rc;

use anyhow::{Context, Result};
use check::wiretap::Method;
use check::{Lab, Outcome, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};

/// AMQP's classes and methods, by number.
const CONNECTION: u16 = 10;
const BLOCKED: u16 = 60;
const BASIC: u16 = 60;
const CANCEL: u16 = 30;

/// The relay. Dropping it closes its port and its connections.
pub struct Relay {
    words: Sender<Vec<u8>>,
    said: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Puts a relay between `service`, which is not started yet, and its wiretap.
    pub async fn before(service: Service) -> Outcome<(Self, Service)> {
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listening.await.context("no port is free for a relay")?;
        let port = listener.local_addr().context("a relay has no port")?.port();
        let (words, _) = channel(8);
        let said = Rc::new(Notify::new());
        let tap = service.tap().port();
        let task = tokio::task::spawn_local(listen(listener, tap, words.clone(), said.clone()));
        Ok((Self { words, said, task }, service.through(port)))
    }

    /// Says `connection.blocked`, as a broker does that has no memory or disk left: from then on
    /// the client must not publish.
    pub async fn block(&self, lab: &Lab) -> Outcome {
        let reason = short_string("low on memory");
        self.say(
            lab,
            Method::ConnectionBlocked,
            frame(0, CONNECTION, BLOCKED, reason),
        )
        .await
    }

    /// Says `basic.cancel` to the last consumer of `service`, as a broker does whose queue is gone.
    pub async fn cancel(&self, lab: &Lab, service: &Service) -> Outcome {
        let started = lab
            .journal()
            .methods(&service.name(), Method::BasicConsumeOk);
        let started = started.last().context("nothing consumes")?;
        let tag = started.args["consumer_tag"].as_str().unwrap_or_default();
        let mut arguments = short_string(tag);
        arguments.push(1); // no-wait: nobody answers
        let bytes = frame(started.channel, BASIC, CANCEL, arguments);
        self.say(lab, Method::BasicCancel, bytes).await
    }

    async fn say(&self, lab: &Lab, what: Method, bytes: Vec<u8>) -> Outcome {
        lab.journal()
            .note(format!("says {what} to the client, as a broker does"));
        self.words
            .send(bytes)
            .ok()
            .context("no connection to say it on")?;
        self.said.notified().await;
        Ok(())
    }
}

/// A method frame.
fn frame(channel: u16, class: u16, method: u16, arguments: Vec<u8>) -> Vec<u8> {
    let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
    payload.extend(arguments);
    let mut bytes = vec![1];
    bytes.extend(channel.to_be_bytes());
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

fn short_string(text: &str) -> Vec<u8> {
    let mut bytes = vec![text.len() as u8];
    bytes.extend(text.bytes());
    bytes
}

async fn listen(listener: TcpListener, tap: u16, words: Sender<Vec<u8>>, said: Rc<Notify>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (words, said) = (words.subscribe(), said.clone());
        connections.spawn_local(async move {
            // An error needs no report: both sides notice that the connection ended.
            let _ = relay(client, tap, words, &said).await;
        });
    }
}

async fn relay(client: TcpStream, tap: u16, words: Receiver<Vec<u8>>, said: &Notify) -> Result<()> {
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, tap)).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_broker, mut to_broker) = broker.into_split();
    let there = async {
        tokio::io::copy(&mut from_client, &mut to_broker).await?;
        Ok(())
    };
    tokio::select! {
        end = there => end,
        end = back(from_broker, to_client, words, said) => end,
    }
}

/// Passes on whole frames only, so that the relay's own words come between two of them.
async fn back(
    mut from_broker: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    mut words: Receiver<Vec<u8>>,
    said: &Notify,
) -> Result<()> {
    let mut pending = Vec::new();
    loop {
        tokio::select! {
            read = from_broker.read_buf(&mut pending) => {
                if read? == 0 {
                    return Ok(());
                }
                let whole = whole_frames(&pending);
                let bytes: Vec<u8> = pending.drain(..whole).collect();
                to_client.write_all(&bytes).await?;
            }
            word = words.recv() => {
                to_client.write_all(&word?).await?;
                said.notify_one();
            }
        }
    }
}

/// How many of these bytes are whole frames.
fn whole_frames(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some([_, _, _, a, b, c, d]) = bytes.get(whole..whole + 7) {
        let end = whole + u32::from_be_bytes([*a, *b, *c, *d]) as usize + 8;
        if end > bytes.len() {
            break;
        }
        whole = end;
    }
    whole
}
