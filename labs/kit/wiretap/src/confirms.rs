//! A relay between a service and its wiretap. It decides when the service's publishes reach the
//! broker, and when the broker's acks reach the service. With it, a check changes a queue in the
//! middle of a window of publishes, and has the whole window acked at once.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::rc::Rc;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::link::listen;
use super::{Decoder, Frame, Method, Side};

/// How many bytes are read at a time.
const READ: usize = 64 * 1024;

/// The relay. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct ConfirmRelay {
    port: u16,
    gate: watch::Sender<Gate>,
    count: Rc<Count>,
    task: JoinHandle<()>,
}

/// What may pass.
#[derive(Debug, Clone, Copy)]
struct Gate {
    /// How many publishes pass, counted from the start.
    publishes: u64,
    acks: bool,
}

/// Counts over all connections so far.
#[derive(Debug, Default)]
struct Count {
    /// Publishes, including the one that waits at the gate.
    publishes: Cell<u64>,
    /// Messages whose ack is held back.
    held: Cell<u64>,
}

impl Drop for ConfirmRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ConfirmRelay {
    /// Opens the relay in front of the wiretap that listens on the loopback port `tap`.
    /// Everything passes until the check says otherwise.
    ///
    /// # Errors
    /// When no loopback port is free.
    pub fn open(tap: u16) -> Result<Self> {
        let listener = listen(0)?;
        let port = listener.local_addr()?.port();
        let open = Gate {
            publishes: u64::MAX,
            acks: true,
        };
        let (gate, changes) = watch::channel(open);
        let count = Rc::new(Count::default());
        let task = tokio::task::spawn_local(accept(listener, tap, changes, count.clone()));
        Ok(Self {
            port,
            gate,
            count,
            task,
        })
    }

    /// The loopback port that the service connects to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets the first `count` publishes pass, counted from the start. Holds back the next one,
    /// and everything that the service sends after it.
    pub fn pass(&self, count: u64) {
        self.gate.send_modify(|gate| gate.publishes = count);
    }

    /// Whether a publish is held back now.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.count.publishes.get() > self.gate.borrow().publishes
    }

    /// Holds back the broker's acks. Returns and nacks pass.
    pub fn hold_acks(&self) {
        self.gate.send_modify(|gate| gate.acks = false);
    }

    /// How many messages the held acks cover: on each channel, those before the first message
    /// that the broker has not acked.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.count.held.get()
    }

    /// Sends the held acks as one ack a channel, with `multiple`, as a busy broker does. Later
    /// acks pass as they come.
    pub fn release_acks(&self) {
        self.gate.send_modify(|gate| gate.acks = true);
    }
}

async fn accept(listener: TcpListener, tap: u16, gate: watch::Receiver<Gate>, count: Rc<Count>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (gate, count) = (gate.clone(), count.clone());
        connections.spawn_local(async move {
            // An error needs no report: both sides notice that the connection ended.
            let _ = relay(client, tap, gate, &count).await;
        });
    }
}

async fn relay(
    client: TcpStream,
    tap: u16,
    gate: watch::Receiver<Gate>,
    count: &Count,
) -> Result<()> {
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, tap)).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        end = there(from_client, to_broker, gate.clone(), count) => end,
        end = back(from_broker, to_client, gate, count) => end,
    }
}

/// The frames of one direction, as they become whole.
struct Frames {
    decoder: Decoder,
    pending: Vec<u8>,
}

impl Frames {
    fn new(from: Side) -> Self {
        Self {
            decoder: Decoder::new("", 1, from),
            pending: Vec::new(),
        }
    }

    /// Adds what was read.
    fn add(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next frame's bytes, and the method that it completes.
    fn next(&mut self) -> Option<(Vec<u8>, Option<Frame>)> {
        let (length, frame) = self.decoder.read(&self.pending)?;
        Some((self.pending.drain(..length).collect(), frame))
    }
}

/// Passes on what the service sends; each publish waits until the gate lets it pass.
async fn there(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut gate: watch::Receiver<Gate>,
    count: &Count,
) -> Result<()> {
    let mut frames = Frames::new(Side::Client);
    let mut buffer = vec![0; READ];
    loop {
        let length = reader.read(&mut buffer).await?;
        frames.add(&buffer[..length]);
        while let Some((bytes, frame)) = frames.next() {
            if frame.is_some_and(|frame| frame.method == Method::BasicPublish) {
                let number = count.publishes.get() + 1;
                count.publishes.set(number);
                gate.wait_for(|gate| number <= gate.publishes).await?;
            }
            writer.write_all(&bytes).await?;
        }
        if length == 0 {
            return Ok(());
        }
    }
}

/// The acks of one channel that are held back.
#[derive(Default)]
struct Held {
    /// The broker has acked all tags up to this one.
    up_to: u64,
    /// Acked tags with a gap before them.
    beyond: BTreeSet<u64>,
    /// The service has got the acks up to this tag.
    told: u64,
}

impl Held {
    /// Adds an ack, and returns how many more messages one ack with `multiple` now covers.
    fn add(&mut self, tag: u64, multiple: bool) -> u64 {
        let before = self.up_to;
        match multiple {
            true => self.up_to = self.up_to.max(tag),
            false => _ = self.beyond.insert(tag),
        }
        self.beyond = self.beyond.split_off(&(self.up_to + 1));
        while self.beyond.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
        self.up_to - before
    }
}

/// Passes on what the broker sends; holds its acks back while the gate is closed for them.
async fn back(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut gate: watch::Receiver<Gate>,
    count: &Count,
) -> Result<()> {
    let mut frames = Frames::new(Side::Server);
    let mut channels: HashMap<u16, Held> = HashMap::new();
    let mut buffer = vec![0; READ];
    loop {
        let waiting = channels.values().any(|held| held.told < held.up_to);
        let released = async { gate.wait_for(|gate| gate.acks).await.is_ok() };
        let length = tokio::select! {
            length = reader.read(&mut buffer) => length?,
            _ = released, if waiting => {
                for (channel, held) in &mut channels {
                    if held.told < held.up_to {
                        held.told = held.up_to;
                        writer.write_all(&ack(*channel, held.up_to)).await?;
                    }
                }
                continue;
            }
        };
        frames.add(&buffer[..length]);
        while let Some((bytes, frame)) = frames.next() {
            match frame.filter(|frame| frame.method == Method::BasicAck) {
                Some(frame) => {
                    let tag = frame.tag().context("an ack without a tag")?;
                    let held = channels.entry(frame.channel).or_default();
                    let more = held.add(tag, frame.flag("multiple"));
                    if gate.borrow().acks {
                        held.told = held.up_to;
                        writer.write_all(&bytes).await?;
                    } else {
                        count.held.set(count.held.get() + more);
                    }
                }
                None => writer.write_all(&bytes).await?,
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
}

/// The bytes of a `basic.ack` with `multiple`: a method frame of 13 bytes, class 60, method 80.
fn ack(channel: u16, tag: u64) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(13_u32.to_be_bytes());
    bytes.extend([0, 60, 0, 80]);
    bytes.extend(tag.to_be_bytes());
    bytes.extend([1, 0xCE]);
    bytes
}
