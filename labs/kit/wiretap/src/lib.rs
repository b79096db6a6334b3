//! The wiretap: each service reaches the broker through a loopback relay of its own. The relay
//! journals every AMQP method, and a check breaks the network there on purpose. It changes no
//! byte, and passes on those that it cannot decode.
//!
//! It knows frames and bytes; it knows no check, no chapter and no broker. Start reading at
//! [`Wiretap`]. A check asks a [`Journal`], and matches on the types of [`event`] and on [`Method`]; their
//! words are for people and for the journal's file.

mod amqp;
mod confirms;
pub mod event;
mod frame;
mod http;
pub mod journal;
mod link;
mod method;
mod questions;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use amqp::{Decoder, parse};
pub use confirms::ConfirmRelay;
pub use event::{CheckEvent, ConnectionEvent, Ending, Entry, Event, HttpLine, LinkEvent, Loss};
pub use frame::{Frame, Message, Side};
pub use http::{Answer, HttpRelay};
pub use journal::Journal;
pub use link::Link;
use link::{Condition, Direction, record};
pub use method::Method;

/// How many reads one direction of a delayed link may hold: enough to keep the link busy, few
/// enough that a sender notices a receiver that has stopped reading.
const UNDER_WAY: usize = 256;
/// How many bytes a read asks for, at least.
const READ: usize = 64 * 1024;

/// The wiretap between one service and the broker.
#[derive(Debug)]
pub struct Wiretap {
    link: Link,
    traps: Arc<Mutex<Vec<Trap>>>,
}

impl Deref for Wiretap {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

/// A frame that is still to come, and the side of it at which something is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Who sends it.
    pub from: Side,
    /// Its method.
    pub method: Method,
    /// Counts such frames from 1, from now on, over all connections of the wiretap.
    pub nth: usize,
    /// Whether it is passed on first.
    pub edge: Edge,
}

/// A side of a frame on its way through a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// It has come, and is not passed on.
    Before,
    /// It is passed on, and nothing after it.
    After,
}

/// What is to happen at a moment.
#[derive(Debug)]
struct Trap {
    at: Moment,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// The connection is cut instead.
    Cut,
    /// It waits, and all that follows it, until the check lets it pass.
    Hold(Stopped),
}

/// The relay's end of a [`Held`].
struct Stopped {
    grip: watch::Receiver<Grip>,
    reached: watch::Sender<bool>,
    act: Act,
}

/// What the relay does at once, on its own thread.
pub type Act = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stopped").field(&self.grip).finish()
    }
}

impl Stopped {
    /// Waits until the check lets go; an error when it cuts the connection instead.
    async fn wait(mut self) -> Result<()> {
        (self.act)();
        self.reached.send_replace(true);
        // An error means that the check has dropped its end.
        let grip = self.grip.wait_for(|grip| *grip != Grip::Holds).await;
        let cuts = grip.is_ok_and(|grip| *grip == Grip::Cuts);
        anyhow::ensure!(!cuts, Loss::CutByCheck);
        Ok(())
    }
}

/// Whether a frame is held, once it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grip {
    Holds,
    LetsGo,
    /// It never passes: the connection ends.
    Cuts,
}

/// A frame that waits on the wire, or that will once it comes. Dropping this lets it pass.
#[derive(Debug)]
pub struct Held {
    grip: watch::Sender<Grip>,
    reached: watch::Receiver<bool>,
}

impl Held {
    /// Whether the frame has come, and waits.
    #[must_use]
    pub fn reached(&self) -> bool {
        *self.reached.borrow()
    }

    /// Waits until the frame has come; for ever if it never does.
    pub async fn comes(&mut self) {
        if self.reached.wait_for(|reached| *reached).await.is_err() {
            // The wiretap is gone, and no frame will come.
            std::future::pending().await
        }
    }

    /// Lets the frame pass, and all that came after it.
    pub fn release(self) {}

    /// Ends the connection: what is held back never passes.
    pub fn cut(self) {
        self.grip.send_replace(Grip::Cuts);
    }

    /// Both ends: this one for the check, the other for the relay, which does `act` at once.
    pub(crate) fn pair(act: Act) -> (Self, Stopped) {
        let (grip, holds) = watch::channel(Grip::Holds);
        let (reach, reached) = watch::channel(false);
        let stopped = Stopped {
            grip: holds,
            reached: reach,
            act,
        };
        (Self { grip, reached }, stopped)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.grip.send_if_modified(|grip| {
            let holds = *grip == Grip::Holds;
            if holds {
                *grip = Grip::LetsGo;
            }
            holds
        });
    }
}

impl Moment {
    /// Before the next frame in which `from` sends `method`.
    fn next(from: Side, method: Method) -> Self {
        let (nth, edge) = (1, Edge::Before);
        Self {
            from,
            method,
            nth,
            edge,
        }
    }
}

impl Wiretap {
    /// Opens a wiretap for `service` in front of the broker at `host:port`.
    ///
    /// # Errors
    /// When no loopback port is free.
    pub fn open(service: &str, host: &str, port: u16, journal: &Journal) -> Result<Self> {
        let traps = Arc::new(Mutex::default());
        let tapped = Tapped {
            service: service.to_owned(),
            broker: (host.to_owned(), port),
            journal: journal.clone(),
            traps: traps.clone(),
        };
        let link = Link::open(service, journal, move |client, number, condition| {
            tapped.clone().relay(client, number, condition)
        })?;
        Ok(Self { link, traps })
    }

    /// Holds each byte back for `delay`, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.link
            .change(LinkEvent::Delayed(delay), |c| c.delay = delay);
    }

    /// Holds back everything that `from` sends, even the end of its connection, and tells
    /// neither end. [`Link::restore`] delivers the bytes after all, as TCP does when a network
    /// is back: TCP retransmits what was not acknowledged.
    pub fn black_hole(&self, from: Side) {
        self.set(from, Direction::Swallowed, LinkEvent::Swallows(from));
    }

    /// Tells the other end that `from` has nothing more to send, as a half-closed TCP
    /// connection does.
    pub fn half_close(&self, from: Side) {
        self.set(from, Direction::Closed, LinkEvent::HalfCloses(from));
    }

    fn set(&self, from: Side, to: Direction, what: LinkEvent) {
        self.link.change(what, |condition| match from {
            Side::Client => condition.client = to,
            Side::Server => condition.server = to,
        });
    }

    /// Cuts the connection on which `from` next sends `method`, before that arrives. Once.
    pub fn cut_before(&self, from: Side, method: Method) {
        let (at, then) = (Moment::next(from, method), Then::Cut);
        lock(&self.traps).push(Trap { at, then });
    }

    /// Holds back the next frame in which `from` sends `method`, and everything that it sends
    /// after it on that connection. The journal has the frame when it comes.
    #[must_use = "the frame passes as soon as this is dropped"]
    pub fn hold(&self, from: Side, method: Method) -> Held {
        self.hold_at(Moment::next(from, method), Box::new(|| ()))
    }

    /// Holds the connection back at a moment, in the direction of that frame. `act` is done at
    /// once then, by the relay's thread: it must not wait.
    #[must_use = "the frame passes as soon as this is dropped"]
    pub fn hold_at(&self, at: Moment, act: Act) -> Held {
        let (held, stopped) = Held::pair(act);
        let then = Then::Hold(stopped);
        lock(&self.traps).push(Trap { at, then });
        held
    }

    /// Whether every trap set by [`Wiretap::cut_before`] has sprung.
    #[must_use]
    pub fn sprung(&self) -> bool {
        let traps = lock(&self.traps);
        !traps.iter().any(|trap| matches!(trap.then, Then::Cut))
    }
}

/// What each connection of a wiretap needs.
#[derive(Clone)]
struct Tapped {
    service: String,
    broker: (String, u16),
    journal: Journal,
    traps: Arc<Mutex<Vec<Trap>>>,
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
        // With Nagle's algorithm each handshake takes 44 ms instead of 1.4.
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

    /// Removes the trap that `frame` springs, if there is one, and says what is to happen.
    fn springs(&self, frame: &Frame) -> Option<Trap> {
        let mut traps = lock(&self.traps);
        // A hold that the check has given up holds nothing.
        traps.retain(|trap| match &trap.then {
            Then::Cut => true,
            Then::Hold(stopped) => *stopped.grip.borrow() == Grip::Holds,
        });
        let counted = traps
            .iter_mut()
            .filter(|trap| trap.at.from == frame.from && trap.at.method == frame.method);
        counted.for_each(|trap| trap.at.nth = trap.at.nth.saturating_sub(1));
        let hit = traps.iter().position(|trap| {
            let Moment { from, method, .. } = trap.at;
            trap.at.nth == 0 && from == frame.from && method == frame.method
        });
        hit.map(|at| traps.remove(at))
    }
}

/// One direction of a tapped connection.
struct Way {
    tapped: Tapped,
    number: u32,
    from: Side,
    decoder: Decoder,
    /// How many bytes of the input are decoded already: those of a frame that was held.
    decoded: usize,
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
            decoded: 0,
            tapped: tapped.clone(),
            number,
            from,
            condition,
        }
    }

    /// Journals and passes on what comes, until the sender closes, a trap springs, or the link
    /// closes this direction.
    async fn run(mut self, mut reader: OwnedReadHalf, mut writer: OwnedWriteHalf) -> Result<()> {
        let closed = closed(self.condition.clone(), self.from);
        tokio::pin!(closed);
        // Bytes read and not passed on yet: at most part of a frame.
        let mut input = Vec::new();
        let mut delayed = Delayed::default();
        let mut end = None;
        while end.is_none() || !delayed.is_empty() {
            input.reserve(READ);
            let room = end.is_none() && delayed.len() < UNDER_WAY;
            tokio::select! {
                read = reader.read_buf(&mut input), if room => {
                    let length = read?;
                    let Some(delay) = self.delay().await? else { break };
                    if length == 0 {
                        end = Some(End::Gone);
                        self.decoded = input.len();
                    }
                    loop {
                        let (whole, held) = self.inspect(&input, &mut end);
                        if delay.is_zero() && delayed.is_empty() {
                            writer.write_all(&input[..whole]).await?;
                            input.drain(..whole);
                        } else {
                            let bytes = input.drain(..whole).collect();
                            delayed.push_back((Instant::now() + delay, bytes));
                        }
                        let Some(stopped) = held else { break };
                        stopped.wait().await?;
                    }
                }
                bytes = next_due(&delayed) => {
                    writer.write_all(bytes).await?;
                    delayed.pop_front();
                }
                () = &mut closed => break,
            }
        }
        writer.shutdown().await?;
        anyhow::ensure!(end != Some(End::Cut), Loss::CutByCheck);
        Ok(())
    }

    /// How long to hold back the bytes just read. Waits while this direction is swallowed;
    /// `None` when it is closed.
    async fn delay(&mut self) -> Result<Option<Duration>> {
        let from = self.from;
        let open = |now: &Condition| now.direction(from) != Direction::Swallowed;
        let now = *self.condition.wait_for(open).await?;
        Ok((now.direction(from) != Direction::Closed).then_some(now.delay))
    }

    /// Journals the complete frames in `input`, and returns how many of its bytes may be passed
    /// on, and what stops the direction behind them. Sets `end` to a cut when such a trap springs.
    fn inspect(&mut self, input: &[u8], end: &mut Option<End>) -> (usize, Option<Stopped>) {
        let knew = !self.decoder.lost();
        let mut whole = std::mem::take(&mut self.decoded);
        while let Some((length, frame)) = self.decoder.read(&input[whole..]) {
            let sprung = frame.and_then(|frame| {
                let (sprung, method) = (self.tapped.springs(&frame), frame.method);
                self.tapped.journal.record(Event::Amqp(frame));
                sprung.map(|trap| (trap, method))
            });
            match sprung.map(|(trap, method)| (trap.then, trap.at.edge, method)) {
                None => {}
                Some((Then::Cut, _, method)) => {
                    self.record(ConnectionEvent::CutBefore(method));
                    *end = Some(End::Cut);
                    return (whole, None);
                }
                Some((Then::Hold(stopped), Edge::After, _)) => {
                    return (whole + length, Some(stopped));
                }
                Some((Then::Hold(stopped), Edge::Before, method)) => {
                    self.record(ConnectionEvent::HeldBack(method));
                    self.decoded = length;
                    return (whole, Some(stopped));
                }
            }
            whole += length;
        }
        if knew && self.decoder.lost() {
            self.record(ConnectionEvent::Unreadable);
        }
        (whole, None)
    }

    fn record(&self, what: ConnectionEvent) {
        let Tapped {
            journal, service, ..
        } = &self.tapped;
        record(journal, service, self.number, what);
    }
}

/// Why a direction has nothing more to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sender has closed it.
    Gone,
    /// A trap sprang.
    Cut,
}

/// The bytes that a delayed link holds, each with the time at which they are due.
type Delayed = VecDeque<(Instant, Vec<u8>)>;

/// The next bytes, when they are due; waits for ever when there are none.
async fn next_due(delayed: &Delayed) -> &[u8] {
    match delayed.front() {
        Some((due, bytes)) => {
            sleep_until(*due).await;
            bytes
        }
        None => std::future::pending().await,
    }
}

/// Waits until the link closes the direction in which `from` sends.
async fn closed(mut condition: watch::Receiver<Condition>, from: Side) {
    let closed = condition.wait_for(|now| now.direction(from) == Direction::Closed);
    if closed.await.is_err() {
        // The link has been dropped, and this task is about to end.
        std::future::pending().await
    }
}

/// A panic elsewhere leaves the data of these locks whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
