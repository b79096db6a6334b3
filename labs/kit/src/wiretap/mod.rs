//! The wiretap: each service reaches the broker through a loopback relay of its own, which
//! journals every AMQP method and is where the network is broken on purpose. It passes
//! bytes through unchanged, also those that it cannot decode.

mod amqp;
mod http;
pub mod journal;
mod link;
mod questions;

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use amqp::{Decoder, Piece};
pub use http::{Answer, HttpRelay};
pub use journal::{Entry, Event, Frame, Journal, Message, Side};
pub use link::Link;
use link::{Condition, Direction, record};

/// How many reads may be under way in one direction: enough for a delayed link to stay
/// full, few enough that a reader that stops reading is felt at the other end.
const UNDER_WAY: usize = 256;

/// The wiretap between one service and the broker.
#[derive(Debug)]
pub struct Wiretap {
    link: Link,
    traps: Rc<RefCell<Vec<Trap>>>,
}

impl Deref for Wiretap {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

/// Cuts the connection instead of passing on the next frame of this kind.
#[derive(Debug)]
struct Trap {
    from: Side,
    method: &'static str,
}

impl Wiretap {
    /// Opens a wiretap for `service` in front of the broker at `host:port`.
    ///
    /// # Errors
    /// When no loopback port is free.
    pub async fn open(service: &str, host: &str, port: u16, journal: &Journal) -> Result<Self> {
        let traps = Rc::new(RefCell::new(Vec::new()));
        let tapped = Tapped {
            service: service.to_owned(),
            broker: (host.to_owned(), port),
            journal: journal.clone(),
            traps: traps.clone(),
        };
        let link = Link::open(service, journal, move |client, number, condition| {
            tapped.clone().relay(client, number, condition)
        })
        .await?;
        Ok(Self { link, traps })
    }

    /// Holds each byte back for `delay`, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.link
            .change(&format!("delayed by {} ms", delay.as_millis()), |c| {
                c.delay = delay;
            });
    }

    /// Lets nothing of what `from` sends arrive any more, not even that it is gone, and tells
    /// neither end. [`Link::restore`] lets it through after all, as TCP does when a network is
    /// back: it sends again what was not acknowledged.
    pub fn black_hole(&self, from: Side) {
        self.set(from, Direction::Swallowed, "swallowed");
    }

    /// Tells the other end that `from` has nothing more to send, as a half-closed TCP
    /// connection does.
    pub fn half_close(&self, from: Side) {
        self.set(from, Direction::Closed, "half-closed");
    }

    fn set(&self, from: Side, to: Direction, word: &str) {
        let who = match from {
            Side::Client => "what the service sends is",
            Side::Server => "what is sent to the service is",
        };
        self.link
            .change(&format!("{who} {word}"), |condition| match from {
                Side::Client => condition.client = to,
                Side::Server => condition.server = to,
            });
    }

    /// Cuts the connection on which `from` next sends `method`, before that arrives. One time.
    pub fn cut_before(&self, from: Side, method: &'static str) {
        self.traps.borrow_mut().push(Trap { from, method });
    }

    /// Whether every trap set by [`Wiretap::cut_before`] has sprung.
    #[must_use]
    pub fn sprung(&self) -> bool {
        self.traps.borrow().is_empty()
    }
}

/// What a tapped connection needs to know.
#[derive(Clone)]
struct Tapped {
    service: String,
    broker: (String, u16),
    journal: Journal,
    traps: Rc<RefCell<Vec<Trap>>>,
}

impl Tapped {
    async fn relay(
        self,
        client: TcpStream,
        number: u32,
        condition: watch::Receiver<Condition>,
    ) -> Result<()> {
        let (host, port) = &self.broker;
        let broker = TcpStream::connect((host.as_str(), *port))
            .await
            .context("the broker cannot be reached")?;
        // Without this each handshake takes 44 ms instead of 1.4.
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let there = Way::new(&self, number, Side::Client, condition.clone());
        let back = Way::new(&self, number, Side::Server, condition);
        tokio::try_join!(
            there.run(from_client, to_broker),
            back.run(from_broker, to_client)
        )?;
        Ok(())
    }

    /// Takes out the trap that `frame` springs, if there is one.
    fn springs(&self, frame: &Frame) -> bool {
        let mut traps = self.traps.borrow_mut();
        let hit = traps
            .iter()
            .position(|trap| trap.from == frame.from && trap.method == frame.method);
        hit.map(|at| traps.remove(at)).is_some()
    }
}

/// One direction of a tapped connection.
struct Way {
    tapped: Tapped,
    number: u32,
    from: Side,
    decoder: Decoder,
    condition: watch::Receiver<Condition>,
}

impl Way {
    fn new(
        tapped: &Tapped,
        number: u32,
        from: Side,
        condition: watch::Receiver<Condition>,
    ) -> Self {
        Self {
            decoder: Decoder::new(&tapped.service, number, from),
            tapped: tapped.clone(),
            number,
            from,
            condition,
        }
    }

    async fn run(self, reader: OwnedReadHalf, writer: OwnedWriteHalf) -> Result<()> {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let (condition, from) = (self.condition.clone(), self.from);
        let (cut, ()) = tokio::try_join!(
            self.read(reader, sender),
            deliver(writer, receiver, condition, from)
        )?;
        anyhow::ensure!(!cut, "cut by the check");
        Ok(())
    }

    /// Reads, journals, and sends each read on its way with the time at which it is due;
    /// true when a trap sprang and the connection is to be cut once that has left.
    async fn read(
        mut self,
        mut reader: OwnedReadHalf,
        sender: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = reader.read(&mut buffer).await?;
            let mut condition = self.condition.clone();
            condition
                .wait_for(|now| now.direction(self.from) != Direction::Swallowed)
                .await?;
            let due = Instant::now() + self.condition.borrow().delay;
            if length == 0 {
                let rest = self.decoder.rest();
                let _ = sender.send((due, rest)).await;
                return Ok(false);
            }
            let (bytes, cut) = self.inspect(&buffer[..length]);
            if sender.send((due, bytes)).await.is_err() || cut {
                return Ok(cut);
            }
        }
    }

    /// Journals what is whole of `bytes`, and gives what may be passed on; true when a trap
    /// sprang and the connection is to be cut after that.
    fn inspect(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let knew = !self.decoder.lost();
        let mut passed = Vec::with_capacity(bytes.len());
        for piece in self.decoder.feed(bytes) {
            if let Some(frame) = piece.frame {
                let sprung = self.tapped.springs(&frame);
                let method = frame.method;
                self.tapped.journal.record(Event::Amqp(frame));
                if sprung {
                    let what = format!("cut before that {method} arrives");
                    record(
                        &self.tapped.journal,
                        &self.tapped.service,
                        Some(self.number),
                        &what,
                    );
                    return (passed, true);
                }
            }
            passed.extend_from_slice(&piece.bytes);
        }
        if knew && self.decoder.lost() {
            let what = "not AMQP from here on: passed on unread";
            record(
                &self.tapped.journal,
                &self.tapped.service,
                Some(self.number),
                what,
            );
        }
        (passed, false)
    }
}

/// Writes what is due, and closes the way when its reader is done or the link says so.
async fn deliver(
    mut writer: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut condition: watch::Receiver<Condition>,
    from: Side,
) -> Result<()> {
    loop {
        let closed = condition.wait_for(|now| now.direction(from) == Direction::Closed);
        tokio::select! {
            next = receiver.recv() => match next {
                Some((due, bytes)) => {
                    tokio::time::sleep_until(due).await;
                    writer.write_all(&bytes).await?;
                }
                None => break,
            },
            _ = closed => break,
        }
    }
    writer.shutdown().await?;
    Ok(())
}
